"""Live mode: one portrait, frames that come one by one, the newest of them drawn; over a WebSocket or to a camera."""
