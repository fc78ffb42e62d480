// Signing in: the server answers with a cookie that scripts cannot read.

const problem = document.querySelector("#problem");

document.querySelector("#login").addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.hidden = true;
  const password = document.querySelector("#password").value;
  try {
    const answer = await fetch("api/v1/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ password }),
    });
    if (answer.ok) {
      location.replace(`./${location.hash}`);
      return;
    }
    problem.textContent = (await answer.json()).detail;
  } catch {
    problem.textContent = "The server cannot be reached; is it still running?";
  }
  problem.hidden = false;
});
