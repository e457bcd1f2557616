"""The bench's arithmetic: which records make which figure, ratios run by run, and what is told as met."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

import bench_report as report  # noqa: E402


def wake(us, up="3", writes="2"):
    return {"ev": "wake", "want": "3", "up": up, "last_us": str(us), "icr_writes": writes}


def run(cold=900, warm=(50, 70, 60), null_warm="30"):
    return [{"ev": "firmware", "cpus": "4", "cold_us": "11000", "warm_us": "10200"},
            {"ev": "null", "mode": "long", "cpus": "3", "up": "3", "cold_us": "400",
             "warm_median_us": null_warm},
            wake(cold), *map(wake, warm), {"ev": "sweep", "value": "broadcast"},
            wake(80, writes="6"), wake(90), wake(100), {"ev": "sweep", "value": "parallel"}]


def test_figures_of_a_run():
    assert report.figures_of(run(), "defaults") == {
        "defaults broadcast cold": 900, "defaults broadcast warm": 60, "defaults broadcast icr_writes": 2,
        "defaults parallel warm": 90, "defaults parallel icr_writes": 6,
        "null long cold": 400, "null long warm": 30, "firmware cold": 11000, "firmware warm": 10200}


def test_a_wake_with_somebody_missing_is_no_figure():
    records = [wake(900), wake(50, up="2"), {"ev": "sweep", "value": "broadcast"}]
    assert report.figures_of(records, "defaults") == {}


def test_ratio_is_run_by_run():
    found = {"a": {0: 10, 1: 40, 2: 90}, "b": {0: 10, 1: 20, 2: 30}}
    assert report.ratio(found, "a", "b") == 2
    assert report.ratio({"a": {0: 10}, "b": {1: 5}}, "a", "b") == 2
    assert report.ratio(found, "a", "c") is None


@pytest.mark.parametrize("null_warm, word", [("30", "met"), ("29", "NOT MET")])
def test_judged_at_its_bound(null_warm, word):
    lines = report.judge(report.figures({"4/0/defaults": run(null_warm=null_warm)}))
    line = next(text for text in lines if text.startswith("| broadcast, warm"))
    assert line.split("|")[-2].strip() == word


def test_linux_counts_only_with_all_processors():
    kept = {"4/0/linux-release": {"cpus": 4, "us": 30000}, "4/1/linux-release": {"cpus": 3, "us": 1},
            "4/2/linux-release": None}
    assert report.figures(kept)[4]["linux release"] == {0: 30000}


def test_slope():
    assert report.slope([(2, 1200.0), (4, 1400.0), (64, 7400.0)]) == pytest.approx((100.0, 1000.0))
    assert report.slope([(2, 1200)]) is None


def test_markdown_of_nothing_and_of_one_run():
    host = {"date": "2026-01-01", "qemu": "QEMU", "cores": 2, "processor": "a processor", "kernels": {}}
    assert "# Wakes side by side" in report.markdown({}, host)
    text = report.markdown({"4/0/defaults": run(), "4/0/base": run(warm=(100, 140, 120))}, host, "abc")
    assert "### 4 processors" in text and "not there" in text
    assert "| 4 | defaults broadcast warm | 120 | 60 | 0.50 |" in text
