from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from synhead.config import ablate, preset
from synhead.evaluation.codebook_health import describe, measure_codes, report_of
from synhead.evaluation.figures import inside
from synhead.evaluation.figures.canvas import Box, Drawing, Line, Text, write_drawing
from synhead.evaluation.figures.code_use import code_use_sheet
from synhead.evaluation.figures.inputs import render
from synhead.evaluation.figures.inside import draw_inside
from synhead.evaluation.figures.page import html_page
from synhead.evaluation.figures.qualitative import qualitative_sheet, telling
from synhead.evaluation.figures.rank_chart import rank_chart
from synhead.evaluation.figures.sheet import Row, draw_table, tile_for, write_sheet
from synhead.evaluation.figures.trace import trace_pair
from synhead.evaluation.renderers import ModelRenderer
from synhead.evaluation.study_statistics import Ranking, standings
from synhead.evaluation.trials import Trial
from synhead.model.talking_head import TalkingHead


def model_of(name="full"):
    torch.manual_seed(0)
    return TalkingHead(ablate(preset("tiny"), name)).eval()


def pictures(count, seed=0, size=64):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def trace():
    source, driving = pictures(2)
    return trace_pair(model_of(), source, driving)


def test_a_trace_is_what_rendering_does(trace):
    made = ModelRenderer(model_of())(trace.source, trace.driving[None])[0]
    image = trace.passed.animation.image[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(made, np.rint((image.clip(-1, 1) + 1) * 127.5), atol=1)


def test_tokens_are_those_that_are_quantised(trace):
    codes = model_of().appearance_compensation.codebook
    for scale, coding in zip(trace.scales, trace.passed.appearance_codes, strict=True):
        again = codes.quantize(torch.from_numpy(trace.driving_tokens[scale])[None], scale)
        assert torch.equal(again.indices, coding.indices)


def test_flows_add_up(trace):
    flows = trace.flows_px()
    for before, after, step in zip(flows[:-1], flows[1:], trace.passed.animation.traces, strict=True):
        np.testing.assert_allclose(after - before, step.residual_px[0].numpy(), atol=1e-4)


def test_an_unmoved_source_stays_as_it_is(trace):
    assert len(trace.warped_sources()) == 1 + len(trace.scales)
    assert all(picture.shape == trace.source.shape for picture in trace.warped_sources())


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("full", 5), ("baseline", 3), ("smc", 4), ("mmc", 4), ("mmc_sac", 5), ("plain_residual", 5)],
)
def test_every_variant_has_the_figures_that_it_can_have(variant, expected, tmp_path):
    source, driving = pictures(2)
    sheets = draw_inside(trace_pair(model_of(variant), source, driving))
    assert len({sheet.name for sheet in sheets}) == len(sheets) == expected
    for sheet in sheets:
        assert write_sheet(sheet, tmp_path).is_file()
        assert np.array(sheet.image).std() > 10


def test_table_places_pictures_under_their_titles():
    red, blue = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = np.array(draw_table(["a", "b"], [Row("x", [red, blue]), Row("y", [None, red], ["", "note"])], tile=32))
    reds = np.argwhere((sheet == [255, 0, 0]).all(axis=2))
    blues = np.argwhere((sheet == [0, 0, 255]).all(axis=2))
    assert len(reds) == 2 * 32 * 32
    assert len(blues) == 32 * 32
    assert blues[:, 1].min() - reds[:, 1].min() == 32 + 6
    assert sheet.shape[0] > reds[:, 0].max() + 15, "no room for the note"
    with pytest.raises(ValueError, match="3 pictures for 2"):
        draw_table(["a", "b"], [Row("x", [red] * 3)])


def trial(name, frames=4):
    made = pictures(frames + 1, seed=len(name))
    return Trial(name, made[0], made[1:], tuple(range(1, frames + 1)))


def test_pixels_of_a_tile_are_equally_large():
    assert [tile_for(size) for size in (64, 128, 256, 512)] == [192, 256, 256, 512]


def test_words_wider_than_a_tile_do_not_run_into_the_next():
    red = np.zeros((64, 64, 3), np.uint8)
    long = draw_table(["w" * 40, ""], [Row("x", [red, red], ["w" * 40, ""])], tile=64)
    ink = np.argwhere(np.array(long).min(axis=2) < 128)
    beside = ink[(ink[:, 0] < 30) | (ink[:, 0] > 30 + 64 + 6)]
    assert beside[:, 1].max() < long.width - 64 - 12


def captured(monkeypatch, trace):
    """The first row of each label that the figures of a trace are made of, and the figures by name."""
    rows = {}

    def spy(columns, made, **options):
        for row in made:
            rows.setdefault(row.label, row)
        return draw_table(columns, made, **options)

    monkeypatch.setattr(inside, "draw_table", spy)
    sheets = draw_inside(trace)
    return rows, {sheet.name: sheet for sheet in sheets}


def test_numbers_under_the_pictures_match_the_data(monkeypatch, trace):
    rows, _ = captured(monkeypatch, trace)
    flows = trace.flows_px()
    assert rows["flow M^i"].notes[1:] == [f"RMS {np.sqrt((f**2).sum(axis=0).mean()):.2g} px" for f in flows]
    step, coding = trace.passed.animation.traces[1], trace.passed.motion_codes[1]
    length = step.residual_px[0].square().sum(dim=0).mean().sqrt()
    assert rows["residual M_r^i"].notes[3] == f"RMS {length:.2g} px"
    error = torch.linalg.vector_norm(coding.reconstruction_px - coding.target_px, dim=1).square().mean().sqrt()
    assert rows["decoded by D_M\nfrom its codes"].notes[1] == f"RMS error {error:.3g} px"
    tokens = torch.from_numpy(trace.driving_tokens[trace.scales[1]]).flatten(1)
    quantised = trace.passed.appearance_codes[1].values[0].flatten(1)
    lost = (quantised - tokens).square().sum() / (tokens - tokens.mean(dim=1, keepdim=True)).square().sum()
    assert rows["quantised by\nthe codebook"].notes[1] == f"variance lost {lost:.0%}"


def test_the_decoders_share_is_shown_where_the_model_blends(monkeypatch):
    source, driving = pictures(2)
    for blend, count in ((False, 5), (True, 6)):
        torch.manual_seed(0)
        model = TalkingHead(replace(preset("tiny"), blend=blend)).eval()
        rows, sheets = captured(monkeypatch, trace_pair(model, source, driving))
        assert len(rows["occlusion O^i"].pictures) == len(rows["occlusion O^i"].notes) == count
        assert ("warped source" in sheets["occlusion"].caption) == blend


def test_a_code_has_one_colour_at_all_scales_also_where_scales_do_not_share(monkeypatch):
    source, driving = pictures(2)
    model = model_of("no_code_sharing")
    trace = trace_pair(model, source, driving)
    starts = [model.config.codes(model.config.motion, scale).start for scale in trace.scales]
    assert list(trace.first_codes["motion"]) == starts
    assert starts[1] > 0
    maps = captured(monkeypatch, trace)[0]["codes chosen"].pictures
    colours = [{tuple(c) for c in picture.reshape(-1, 3)} for picture in maps]
    assert not colours[0] & colours[1], "blocks of their own, yet equal colours"


def test_across_identities_frames_move_relative_to_the_reference():
    model, cross = model_of(), trial("a>b")
    related = replace(cross, reference=cross.driving[1])
    made = render(model, [related])["a>b"]
    np.testing.assert_array_equal(made, ModelRenderer(model).render(cross.source, cross.driving, cross.driving[1]))
    np.testing.assert_array_equal(render(model, [cross])["a>b"], ModelRenderer(model)(cross.source, cross.driving))


def test_the_most_telling_frames_are_shown():
    still = trial("still")
    driving = np.repeat(still.driving[:1], 4, axis=0)
    driving[2] += 90
    shown = telling(Trial("still", still.source, driving, (1, 5, 9, 13)))
    assert shown.indices == (9,)
    np.testing.assert_array_equal(shown.driving[0], driving[2])
    assert telling(trial("short", frames=2), 5).indices == (1, 2)


def test_qualitative_rows_and_columns():
    two = [telling(trial("a>b"), 2), telling(trial("c>d"))]
    systems = {"x": {t.name: t.driving for t in two}, "y": {t.name: 255 - t.driving for t in two}}
    sheet = qualitative_sheet("reenactment", two, systems)
    one = qualitative_sheet("reenactment", two[1:], systems)
    assert sheet.image.height - one.image.height == 2 * (192 + 6)
    assert one.image.width > 4 * 192
    with pytest.raises(ValueError, match="no example"):
        qualitative_sheet("reenactment", [], systems)


def test_page_holds_its_pictures_and_escapes(trace):
    sheets = draw_inside(trace)
    page = html_page("<heading>", ["a & b"], sheets)
    assert "&lt;heading&gt;" in page
    assert "a &amp; b" in page
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(data))).size for data in found]
    assert sizes == [sheet.image.size for sheet in sheets]
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_codes_are_counted_as_in_training():
    model = model_of()
    report = measure_codes(model, [trial("a", frames=3), trial("b", frames=2)], batch=2)
    assert report.pairs == 5
    side = model.config.token_size**2
    for book in report.codebooks:
        assert (book.counts.sum(axis=1) == 5 * side).all()
        for one, row in zip(book.scales, book.counts, strict=True):
            assert row[one.visible :].sum() == 0
            assert one.use.dead == int((row[: one.visible] == 0).sum())
    used = np.array(code_use_sheet(report).image)
    assert used.shape[1] > 1000
    for x in (32, 32 + 512, 32 + 1024):  # numbers of codes under the first, the middle and the last
        assert used[-45:, x - 9 : x + 9].min() < 160
    assert measure_codes(model_of("baseline"), [trial("a")]).codebooks == ()


def test_a_collapse_is_seen_and_the_remedy_named():
    model = model_of()
    healthy = torch.ones(4, 32)
    for row, visible in zip(healthy, (8, 16, 24, 32), strict=True):
        row[visible:] = 0
    collapsed = torch.zeros(4, 32)
    collapsed[:, 3] = 100
    report = report_of(model, {"motion": collapsed, "appearance": healthy}, 7)
    motion, appearance = report.codebooks
    assert motion.collapsed == model.config.scales
    assert (motion.dead, appearance.dead) == (31, 0)
    assert appearance.collapsed == ()
    words = "\n".join(describe(report))
    assert "perplexity 1.0, COLLAPSED" in words
    assert "motion codebook: train with --set training.dead_codes=split" in words
    assert "appearance codebook: train" not in words


def test_drawings_are_alike_in_both_formats(tmp_path):
    drawing = Drawing(40, 20, [Box(10, 5, 20, 10, "#ff0000"), Line(0, 1, 40, 1), Text(2, 18, "<a>", 8)])
    write_drawing(drawing, tmp_path / "d.svg")
    write_drawing(drawing, tmp_path / "d.png")
    assert "&lt;a&gt;" in (tmp_path / "d.svg").read_text()
    assert '<rect x="10" y="5" width="20" height="10" fill="#ff0000"/>' in (tmp_path / "d.svg").read_text()
    pixels = np.array(Image.open(tmp_path / "d.png"))
    assert pixels.shape == (40, 80, 3)
    assert np.argwhere((pixels == [255, 0, 0]).all(axis=2))[[0, -1]].tolist() == [[10, 20], [29, 59]]


def test_bars_are_as_tall_as_mean_ranks():
    found = standings([Ranking("p", ("a", "b")), Ranking("q", ("a", "b"))], ("a", "b"))
    marks = rank_chart({"overall": found}, "note").marks
    tall = [mark.height for mark in marks if isinstance(mark, Box) and mark.height > 20]
    assert tall[1] == pytest.approx(2 * tall[0])
