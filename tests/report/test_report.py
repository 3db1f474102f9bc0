"""The page that ``dual report`` writes: valid, self-contained, and true."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.evaluation.truth.metrics import score_volume
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel
from dual_core.report import judging, pictures, write
from dual_core.report.page import views
from dual_core.report.page.markup import Markup, element, table
from dual_core.report.process import training_command
from dual_core.report.run_folder import open_run
from dual_core.report.trust import read_trust
from dual_core.tasks.batch import file_hash
from dual_core.training.config import TrainingConfig
from dual_core.training.loop import RunOptions, train
from dual_core.training.monitor import read_history
from dual_core.volumes.reading import ArrayVolume, open_volume, write_volume

VOID = {"img", "meta", "br", "input", "link"}
HOSTILE = "<script>alert(1)</script>&\"'"
WARNING = f"the denoiser's output is nearly constant {HOSTILE}"


class Page(HTMLParser):
    """Walks a page and keeps what the tests ask for; wrong nesting fails."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.tags, self.images, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        assert len(values) == len(attributes), f"an attribute of <{tag}> stands twice"
        self.tags.append((tag, values))
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.stack):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def attributes(self, name):
        return [values[name] for _, values in self.tags if name in values]


def read_page(path):
    """Parse a page and hold it against what holds for every page."""
    text = Path(path).read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert names.count("title") == names.count("h1") == names.count("main") == 1
    assert dict(page.tags)["html"]["lang"] == "en"
    assert any(v.get("name") == "viewport" for tag, v in page.tags if tag == "meta")
    # Nothing is fetched: pictures are inside, scripts and styles too.
    outside = [s for s in page.attributes("src") if not s.startswith("data:image/png;base64,")]
    assert not outside
    assert all(h.startswith(("#", "data:")) for h in page.attributes("href"))
    assert not re.search(r"https?://|url\(|@import", text)
    assert all(v["alt"].strip() for v in page.images)
    anchors = page.attributes("id")
    assert len(anchors) == len(set(anchors))
    assert {h[1:] for h in page.attributes("href") if h.startswith("#")} <= set(anchors)
    for values in page.images:
        png = base64.b64decode(values["src"].partition(",")[2])
        with Image.open(io.BytesIO(png)) as image:
            assert image.size == (int(values["width"]), int(values["height"]))
    return page


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny trained run, a tomogram, its truth."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    seeds = np.zeros((24, 40, 32), dtype=np.float32)
    seeds[tuple(random.integers(0, side, 40) for side in seeds.shape)] = 1.0
    truth = gaussian_filter(seeds, 1.5) * 30
    noisy = random.standard_normal(truth.shape).astype(np.float32) - truth
    files = SimpleNamespace(
        folder=folder, run=folder / "run <b>", tomogram=folder / "tomo.mrc",
        truth=folder / "grand.mrc", noisy_array=noisy, truth_array=truth,
    )
    write_volume(files.tomogram, noisy, 10.0)
    write_volume(files.truth, truth, 10.0)
    network = NetworkConfig(
        channels=(4, 6), noise_channels=(4, 4), code_size=5, noise_side=16,
        discriminator_channels=(4, 6),
    )
    config = TrainingConfig(
        iterations=4, patch=16, batch=2, network=network, contrast="dark",
        clean_contrast="bright", rehearsals=1, code_pool=6,
    )
    options = RunOptions(device="cpu", precision="float32", previews=2, log_every=1)
    train([files.tomogram], [files.truth], files.run, config, options)
    return files


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the run that a test may change, with less to draw."""
    target = tmp_path / made.run.name
    shutil.copytree(made.run, target, ignore=shutil.ignore_patterns("spectra_*", "checkpoint*"))
    kept = [{n: line[n] for n in ("iteration", "cc_density")} for line in read_history(made.run)]
    (target / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    return target


def report(*arguments):
    return main(["report", *map(str, arguments), "--device", "cpu", "--precision", "float32"])


def refused(capsys, *arguments):
    """Return the one line that a call is refused with."""
    assert report(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


# --- whole pages ------------------------------------------------------------------------------


def test_finished_run_with_tomogram_and_truth(made, tmp_path):
    output = tmp_path / "page.html"
    call = [
        made.run, "--tomograms", made.tomogram, "--truth", made.truth, "--no-trust",
        "--output", output,
    ]
    assert report(*call) == 0
    page = read_page(output)
    alts = " | ".join(v["alt"] for v in page.images)
    for label in ("raw", "denoised", "removed", "truth"):
        for plane in ("xy", "xz", "yz"):
            assert f"{label} {plane} slice" in alts
    assert alts.count("preview of the training at iteration 4") == 2
    assert "training curves" in alts
    assert "4 of 4 iterations" in page.text
    assert "run <b>" in page.text
    scores = score_volume(-made.noisy_array, made.truth_array, 10.0).as_dict()
    assert f"{scores['cc']:.3f}" in page.text
    assert f"{scores['psnr_db']:.2f}" in page.text
    # Names, not places.
    text = output.read_text(encoding="utf-8")
    assert str(made.folder) not in text
    assert str(tmp_path) not in text
    assert "dual denoise --model 'run <b>/model.safetensors' tomo.mrc" in page.text
    assert output.stat().st_size < 3_000_000

    denoised = tmp_path / "page_files" / "tomo_denoised.mrc"
    written = denoised.stat().st_mtime_ns
    shown = made.noisy_array - open_volume(denoised).load()
    volumes = {"raw": open_volume(made.tomogram), "denoised": open_volume(denoised)}
    cut = views._cut({**volumes, "explained": volumes["denoised"]}, "xy", 12, 1.0)
    low, high = pictures.grey_limits(made.noisy_array[12])
    middle = made.noisy_array[12].mean()
    assert cut.panels[2][1] == pictures.grey_picture(shown[12], (low - middle, high - middle))
    # The page subtracts what the density explains of the tomogram, not the density itself.
    assert dict(cut.panels)["raw"].data_uri in text
    assert dict(cut.panels)["removed"].data_uri not in text
    # A second report does not denoise again, and says the same.
    assert report(*call) == 0
    assert denoised.stat().st_mtime_ns == written
    again = output.read_text(encoding="utf-8")
    date = r"Written \S+ by"
    assert re.sub(date, "", again) == re.sub(date, "", text)


def test_a_denoised_volume_of_another_model_is_not_used(copy, made, tmp_path):
    other = copy / "denoised" / "tomo_denoised.mrc"
    other.parent.mkdir()
    write_volume(other, made.noisy_array, 10.0)
    before = file_hash(other)
    shutil.rmtree(copy / "previews")
    assert report(copy, "--tomograms", made.tomogram, "--no-trust") == 0
    assert (copy / "report_files" / "tomo_denoised.mrc").is_file()
    assert file_hash(other) == before
    pair = ["--tomograms", made.tomogram, "--denoised", other]
    assert report(copy, *pair, "--no-trust") == 0
    assert "% of the variance" in read_page(copy / "report.html").text


def test_a_model_for_the_missing_wedge_is_not_run_as_a_denoiser(copy, made, capsys):
    model = DualModel.load(copy / "model.safetensors")
    model.card = dataclasses.replace(model.card, task="missing-wedge")
    model.save(copy / "model.safetensors")
    status = main(["report", str(copy), "--tomograms", str(made.tomogram), "--quiet"])
    said = capsys.readouterr().err
    assert status != 0 and "'dual compensate'" in said and "--denoised" in said


def test_unfinished_run_without_a_model(copy, made, capsys):
    (copy / "model.safetensors").unlink()
    lines = (copy / "history.jsonl").read_text().splitlines()
    (copy / "history.jsonl").write_text("\n".join(lines[:2]) + '\n{"iteration": 3, "lo')
    assert report(copy, "--tomograms", made.tomogram) == 0
    assert "no model yet" in capsys.readouterr().err
    page = read_page(copy / "report.html")
    alts = " | ".join(v["alt"] for v in page.images)
    assert "training curves" in alts
    assert "preview" in alts
    assert "slice 1" not in alts
    assert "2 of 4 iterations" in page.text
    assert "Not finished" in page.text
    assert "no model yet" in page.text
    assert not (copy / "report_files").exists()


def test_a_run_that_has_just_begun(tmp_path):
    (tmp_path / "config.yaml").write_text("iterations: 10\n")
    (tmp_path / "history.jsonl").write_text("")
    assert report(tmp_path) == 0
    page = read_page(tmp_path / "report.html")
    assert not page.images
    assert "0 of 10 iterations" in page.text
    assert "No training curves" in page.text


def test_without_previews_or_with_a_broken_one(copy, capsys):
    broken = sorted((copy / "previews").glob("slices_*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:300])
    assert report(copy) == 0
    assert broken.name in capsys.readouterr().err
    alts = [v["alt"] for v in read_page(copy / "report.html").images if "preview" in v["alt"]]
    assert len(alts) == 1
    shutil.rmtree(copy / "previews")
    assert report(copy) == 0
    assert not any("preview" in v["alt"] for v in read_page(copy / "report.html").images)


def test_everything_is_escaped_and_warnings_are_shown(copy):
    entry = {"iteration": 5, "loss": 1.0, "warnings": [WARNING]}
    with open(copy / "history.jsonl", "a") as stream:
        stream.write(json.dumps(entry) + "\n")
    (copy / "train.yaml").write_text(json.dumps({"noisy": [f"/data/{HOSTILE[-4:]}.mrc"]}))
    (copy / "config.yaml").write_text(json.dumps({"iterations": 4, "method": HOSTILE}))
    assert report(copy) == 0
    page = read_page(copy / "report.html")
    assert "alert(1)</script>" in page.text
    assert f"at iteration 5: {WARNING}" in page.text
    assert "One warning" in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1


# --- trust report -----------------------------------------------------------------------------


def write_trust(folder, **changes):
    folder.mkdir(exist_ok=True)
    finding = {
        "key": "halves", "title": "Halves agree", "value": 0.91234, "unit": "Å",
        "verdict": "green", "sentence": f"Reads well {HOSTILE}.", **changes,
    }
    second = {**finding, "title": "Invented", "verdict": "amber", "sentence": "Some were."}
    Image.new("RGB", (30, 20), "white").save(folder / "map.png")
    tomogram = {
        "name": "/secret/place/tomo.mrc", "findings": [finding, second],
        "figures": {"slices": "map.png", "lost": "lost.png", "outside": "../../outside.png"},
    }
    content = {"model": "m", "tomograms": [tomogram], "verdict": "amber"}
    (folder / "trust.json").write_text(json.dumps(content))
    return folder


def test_findings_are_shown_with_their_lights(copy, tmp_path):
    folder = write_trust(tmp_path / "trust")
    Image.new("RGB", (30, 20)).save(tmp_path / "outside.png")
    assert report(copy, "--trust", folder) == 0
    page = read_page(copy / "report.html")
    lights = [v["class"] for _, v in page.tags if v.get("class", "").startswith("light")]
    assert lights == ["light amber", "light green", "light amber"]
    assert "1 of 2 tests. Invented: Some were." in page.text
    assert "0.912 Å" in page.text
    assert f"Reads well {HOSTILE}." in page.text
    assert "/secret" not in page.text
    assert sum(v["alt"].endswith(", tomo.mrc") for v in page.images) == 1


@pytest.mark.parametrize(
    "value, unit, shown",
    [
        (12345.6, "picks", "12,346 picks"),
        (float("nan"), "", "–"),
        (None, "", "–"),
        (0.5, "", "0.5"),
    ],
)
def test_numbers_are_written_short(tmp_path, value, unit, shown):
    trust = read_trust(write_trust(tmp_path / "t", value=value, unit=unit, verdict="purple"))
    assert trust.tomograms[0].findings[0].value == shown
    assert trust.tomograms[0].findings[0].verdict == ""
    assert trust.worst_first[0].title == "Invented"


def test_tomograms_are_judged_once(copy, made, monkeypatch):
    other = made.folder / "half.mrc"
    noise = np.random.default_rng(5).standard_normal(made.noisy_array.shape)
    write_volume(other, (made.noisy_array + noise).astype(np.float32), 10.0)
    call = [copy, "--tomograms", made.tomogram, "--halves", made.tomogram, other]
    assert report(*call) == 0
    page = read_page(copy / "report.html")
    found = json.loads((copy / "report_files" / "trust" / "trust.json").read_text())
    findings = found["tomograms"][0]["findings"]
    assert len(findings) > 5
    assert any(one["key"].startswith("halves") for one in findings)
    for one in findings:
        assert one["title"] in page.text
        assert " ".join(one["sentence"].split()) in page.text
    lights = [v["class"] for _, v in page.tags if v.get("class", "").startswith("light")]
    assert lights == [f"light {v}" for v in [found["verdict"], *(f["verdict"] for f in findings)]]
    assert str(made.folder) not in (copy / "report.html").read_text(encoding="utf-8")
    assert "--halves tomo.mrc half.mrc" in page.text

    def not_again(*args, **kwargs):
        raise AssertionError("judged again")

    monkeypatch.setattr(judging, "trust_report", not_again)
    assert report(*call) == 0
    assert read_page(copy / "report.html").text == page.text
    with pytest.raises(AssertionError):
        report(*call, "--diameter", "200", "--debug")


def test_tilt_axis_x_is_the_same_page_of_the_turned_tomogram(copy, made, tmp_path):
    turned = SimpleNamespace(tomogram=tmp_path / "turned.mrc", truth=tmp_path / "truth.mrc")
    write_volume(turned.tomogram, made.noisy_array.swapaxes(1, 2), 10.0)
    write_volume(turned.truth, made.truth_array.swapaxes(1, 2), 10.0)
    found = {}
    for name, files, axis in (("y", made, []), ("x", turned, ["--tilt-axis", "x"])):
        page = tmp_path / f"{name}.html"
        call = [copy, "--tomograms", files.tomogram, "--truth", files.truth, "--output", page]
        assert report(*call, "--tilt-range", "-60", "50", *axis) == 0
        folder = tmp_path / f"{name}_files"
        denoised = open_volume(next(folder.glob("*_denoised.mrc"))).load()
        trust = json.loads((folder / "trust" / "trust.json").read_text())["tomograms"][0]
        values = {one["key"]: one["value"] for one in trust["findings"]}
        text = read_page(page).text
        found[name] = SimpleNamespace(denoised=denoised, values=values, text=text)
    x, y = found["x"], found["y"]
    np.testing.assert_allclose(x.denoised.swapaxes(1, 2), y.denoised, atol=1e-4)
    for key in ("half_coherence", "explained", "scale", "removed_correlation", "flips"):
        assert x.values[key] == pytest.approx(y.values[key], rel=1e-3)
    row = re.compile(r"in the missing wedge: what is right there is a good guess (\S+ \S+)")
    assert row.findall(x.text) == row.findall(y.text) != []
    assert "yz plane: y frequency" in x.text and "xz plane: x frequency" in y.text
    assert "--output trust --tilt-axis x" in x.text and "--tilt-axis" not in y.text


def test_a_model_that_cannot_be_judged_has_a_page(copy, made, monkeypatch, capsys):
    def refuse(run, tomograms, *args):
        raise DualError(f"{tomograms[0]}: the denoised tomogram is constant; train it longer")

    monkeypatch.setattr(write, "judge", refuse)
    assert report(copy, "--tomograms", made.tomogram) == 0
    assert "cannot be made" in capsys.readouterr().err
    page = read_page(copy / "report.html")
    assert "Not judged: tomo.mrc: the denoised tomogram is constant" in page.text


def test_a_constant_result_is_shown_without_scores(copy, made, tmp_path, capsys):
    flat = tmp_path / "flat.mrc"
    write_volume(flat, np.zeros_like(made.truth_array), 10.0)
    pair = ["--tomograms", made.tomogram, "--truth", made.truth]
    assert report(copy, *pair, "--denoised", flat, "--no-trust") == 0
    assert "no scores" in capsys.readouterr().err
    page = read_page(copy / "report.html")
    assert "Removed 100 %" in page.text
    assert "PSNR" not in page.text


# --- mistakes ---------------------------------------------------------------------------------


def test_no_run_is_refused_with_one_line(made, tmp_path, capsys):
    assert "no such folder" in refused(capsys, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "no training directory" in refused(capsys, tmp_path / "empty")
    assert "is a file" in refused(capsys, made.tomogram)
    assert not list((tmp_path / "empty").iterdir())


def test_what_does_not_fit_is_refused_before_anything_is_made(made, copy, tmp_path, capsys):
    small, foreign = tmp_path / "small.mrc", tmp_path / "foreign.mrc"
    write_volume(small, made.truth_array[:, :20], 10.0)
    write_volume(foreign, made.truth_array, 8.0)
    base = [copy, "--tomograms", made.tomogram]
    assert "has shape" in refused(capsys, *base, "--truth", small)
    assert "voxels of 8 A" in refused(capsys, *base, "--truth", foreign)
    assert "one truth for each" in refused(capsys, *base, "--truth", made.truth, made.truth)
    assert "has shape" in refused(capsys, *base, "--no-trust", "--denoised", small)
    assert "give --tomograms" in refused(capsys, copy, "--truth", made.truth)
    assert "with --tomograms" in refused(capsys, copy, "--halves", small, small)
    assert "no such file" in refused(capsys, copy, "--tomograms", tmp_path / "no.mrc")
    assert "is a folder" in refused(capsys, copy, "--output", tmp_path)
    assert "contradict" in refused(capsys, copy, "--trust", tmp_path, "--no-trust")
    assert "smaller angle" in refused(capsys, copy, "--tilt-range", "60", "-60")
    assert "trust.json" in refused(capsys, copy, "--trust", tmp_path)
    assert not (copy / "report.html").exists()
    assert not (copy / "report_files").exists()


# --- pieces -----------------------------------------------------------------------------------


def test_elements_escape_text_and_keep_markup():
    inner = element("b", HOSTILE, title=HOSTILE)
    assert inner.count("<") == 2
    assert inner in element("p", inner, None, [inner, "a"], 3, class_="x", hidden=True, id=None)
    assert element("div", data_start=0) == '<div data-start="0"></div>'
    assert isinstance(table(["a"], [["<"]]), Markup)
    assert "<th scope=\"row\">&lt;" in table(["a"], [["<"]])


def test_large_slices_become_small_pictures():
    cut = np.random.default_rng(0).normal(size=(900, 1500)).astype(np.float32)
    picture = pictures.grey_picture(cut)
    assert (picture.width, picture.height) == (448, round(448 * 0.6))
    # Spread out over the grey scale although averaging has taken most of the deviation.
    grey = np.asarray(Image.open(io.BytesIO(picture.png)))
    assert grey.std() > 30
    assert pictures.grey_picture(np.zeros((4, 5), np.float32)).width == 5


def test_thin_curves_keep_their_colours(tmp_path):
    """A palette is chosen by area, and a curve has next to none."""
    array = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    array[:, 200:] = 255
    wanted = [(0, 114, 178), (213, 94, 0), (0, 158, 115)]
    for row, colour in enumerate(wanted):
        array[20 * row + 10, 210:390] = colour
    Image.fromarray(array).save(tmp_path / "figure.png")
    picture = pictures.file_picture(tmp_path / "figure.png")
    with Image.open(io.BytesIO(picture.png)) as image:
        found = np.asarray(image.convert("RGB")).astype(int)
    for row, colour in enumerate(wanted):
        assert abs(found[20 * row + 10, 300] - colour).max() < 25


def test_first_row_is_at_the_bottom():
    grey = np.asarray(Image.open(io.BytesIO(pictures.grey_picture(np.eye(9)[:4]).png)))
    assert grey[-1, 0] > grey[0, 0]


class Counting(ArrayVolume):
    """Remembers the largest region that was read."""

    largest = 0

    def read(self, start, size):
        self.largest = max(self.largest, int(np.prod(size)))
        return super().read(start, size)


def test_of_a_large_volume_only_slices_and_the_middle_are_read(monkeypatch, tmp_path):
    monkeypatch.setattr(views, "SPECTRUM_CROP", 8)
    random = np.random.default_rng(0)
    array = random.normal(size=(20, 40, 30)).astype(np.float32)
    volume, denoised = Counting(array, 10.0), Counting(array / 2, 10.0)
    given = views.Input(Path("t.mrc"), volume, None)
    view = views.view_tomogram(given, denoised, ((-60, 60), "y"))
    assert max(volume.largest, denoised.largest) == 40 * 30
    assert view.crop == (8, 8, 8)
    assert view.removed_share == pytest.approx(0.75, abs=1e-5)
    assert [cut.index for cut in view.depths] == [5, 7, 10, 12, 15]
    assert 0.1 < view.depths[0].bar_share < 0.34
    np.testing.assert_array_equal(views.read_slice(volume, "yz", 3), array[:, :, 3])


def test_the_scored_middle_is_bounded(monkeypatch):
    monkeypatch.setattr(views, "SCORED_VOXELS", 50_000)
    shape = views.scored_shape((20, 100, 120))
    assert shape[0] == 20
    assert 40_000 < np.prod(shape) <= 50_000
    assert views.scored_shape((10, 10, 10)) == (10, 10, 10)


def test_time_is_counted_over_resumed_runs(copy):
    lines = [{"iteration": n, "seconds": s} for n, s in enumerate((60, 120, 30, 90))]
    (copy / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert open_run(copy).minutes == pytest.approx(3.5)


def test_the_training_command_can_be_given_to_the_program(copy):
    options = {
        "noisy": ["/far/away/a 1.mrc", "b.mrc"], "clean": ["/far/c.mrc"], "output": "/far/x",
        "preset": "quick", "iterations": None, "seed": 3, "tilt_range": [-50.0, 60.0],
        "contrast": "auto", "device": "cuda", "resume": True,
    }
    (copy / "train.yaml").write_text(json.dumps(options))
    assert training_command(open_run(copy)) == (
        "dual train --noisy 'a 1.mrc' b.mrc --clean c.mrc --preset quick --seed 3 "
        "--tilt-range -50.0 60.0 --output 'run <b>'"
    )
    (copy / "train.yaml").unlink()
    command = training_command(open_run(copy))
    assert command.startswith("dual train --noisy tomo.mrc --clean grand.mrc")
    assert read_history(copy)
