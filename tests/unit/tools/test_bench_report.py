"""The bench's arithmetic: which records make which figure, ratios run by run, and what is told as met."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools"))

import bench_report as report  # noqa: E402


def wake(us, up="3", writes="2"):
    return {"ev": "wake", "want": "3", "up": up, "last_us": str(us), "icr_writes": writes}


def sweep(value, first, last, lost="0"):
    return {"ev": "sweep", "value": value, "want": "3", "lost": lost, "first_us": first, "last_us": last}


def run(cold=900, warm=(50, 70, 60), null_warm="30"):
    return [{"ev": "firmware", "cpus": "4", "cold_us": "11000", "warm_us": "10200"},
            {"ev": "null", "mode": "long", "cpus": "3", "up": "3", "cold_us": "400",
             "warm_median_us": null_warm},
            wake(cold), *map(wake, warm), sweep("broadcast", "20", "60"),
            wake(80, writes="6"), wake(90), wake(100), sweep("parallel", "30", "90")]


def test_figures_of_a_run():
    assert report.figures_of(run(), "defaults") == {
        "defaults broadcast warm": 60, "defaults broadcast icr_writes": 2,
        "defaults parallel warm": 90, "defaults parallel icr_writes": 6,
        "null long warm": 30, "firmware cold": 11000, "firmware warm": 10200}


def test_cold_figures_have_boots_of_their_own():
    null = {"ev": "null", "mode": "long", "cpus": "3", "up": "3", "cold_us": "400", "warm_median_us": "30"}
    broadcast = {**wake(900), "wake": "broadcast"}
    assert report.cold_figures_of([null, broadcast], "cold-null-long") == {"null long cold": 400}
    assert report.cold_figures_of([null, broadcast], "cold-broadcast") == {"defaults broadcast cold": 900}
    assert report.cold_figures_of([{**broadcast, "up": "2"}], "cold-broadcast") == {}
    assert report.cold_figures_of([{"ev": "end", "up": "0"}], "cold-null-long") == {}


def test_a_wake_with_somebody_missing_is_no_figure():
    records = [wake(900), wake(50, up="2"), sweep("broadcast", "20", "60", lost="1")]
    assert report.figures_of(records, "defaults") == {}


def test_ratio_is_run_by_run():
    found = {"a": {0: 10, 1: 40, 2: 90}, "b": {0: 10, 1: 20, 2: 30}}
    assert report.ratio(found, "a", "b") == 2
    assert report.ratio({"a": {0: 10}, "b": {1: 5}}, "a", "b") == 2
    assert report.ratio(found, "a", "c") is None


@pytest.mark.parametrize("null_warm, word", [("30", "met"), ("29", "NOT MET")])
def test_judged_at_its_bound(null_warm, word):
    lines = report.judge({"4/0/defaults": run(null_warm=null_warm)})
    line = next(text for text in lines if text.startswith("| broadcast, warm"))
    assert line.split("|")[-2].strip() == word


def test_what_was_not_measured_is_not_met():
    lines = report.judge({"4/0/defaults": run()[:1]})
    assert [line.split("|")[-3:-1] for line in lines if line.startswith("| broadcast, warm")] == [
        [" not measured ", " NOT MET "]]


def test_a_run_that_did_not_end_is_one_in_which_nobody_came():
    end = {"ev": "end", "want": "3", "up": "3"}
    kept = {"4/0/plain": [end], "4/1/plain": [{**end, "up": "0"}], "4/0/linux-release": None}
    assert report.judge_all_greet(kept) == ["| processors that greet | 4 | 3 | 0 | NOT MET |"]
    assert report.judge_all_greet({"4/0/plain": [end]}) == ["| processors that greet | 4 | 3 | 3 | met |"]


def test_a_boot_that_did_not_end_says_how_far_it_came():
    end = {"ev": "end", "want": "3", "up": "0", "last": "BdsDxe: starting Boot0001"}
    assert report.not_ended({"4/0/plain": [{"ev": "end", "want": "3", "up": "3"}], "4/0/linux-release": None}) == []
    lines = report.not_ended({"4/1/plain": [end], "4/2/plain": [{**end, "last": ""}]})
    assert "| 4 | 1 | plain | `BdsDxe: starting Boot0001` |" in lines and "| 4 | 2 | plain | nothing |" in lines


def test_the_floor_and_what_is_on_top():
    lines = report.floors({"4/0/defaults": run()})
    assert "| 4 | 30 | 10.0 | 10.0 | 340.0 | 113.3 |" in lines
    assert report.floors({"4/0/defaults": run()[:2]}) == []


def test_linux_counts_only_with_all_processors():
    kept = {"4/0/linux-release": {"cpus": 4, "us": 30000}, "4/1/linux-release": {"cpus": 3, "us": 1},
            "4/2/linux-release": None}
    assert report.figures(kept)[4]["linux release"] == {0: 30000}


def test_slope():
    assert report.slope([(2, 1200.0), (4, 1400.0), (64, 7400.0)]) == pytest.approx((100.0, 1000.0))
    assert report.slope([(2, 1200)]) is None


def times(us):
    return [{"ev": "times", **{part: str(us) for part in report.PARTS}}]


def test_whole_runs_are_told_by_a_line_where_they_lie_on_one():
    text = "\n".join(report.whole_runs({"4/0/plain": times(1400), "64/0/plain": times(7400),
                                        "4/0/plain-com1": times(1400), "64/0/plain-com1": times(7400)}))
    assert text.count("By least squares 0.10 ms for each processor, and 1 ms without any.") == 1
    assert "By least squares" not in "\n".join(report.whole_runs({"4/0/plain": times(10), "64/0/plain": times(7400)}))


def test_steps_of_a_cold_broadcast_need_all_records():
    came = [{**wake(900), "wake": "broadcast", "send_us": "200", "first_us": "700", "median_us": "800"},
            {"ev": "stages", "real_min_ns": "500000"}]
    lines = report.cold_steps({"4/0/cold-broadcast": came, "16/0/cold-broadcast": came[:1],
                               "64/0/cold-broadcast": [{"ev": "end", "up": "0"}]})
    assert "| 4 | 200 | 500 | 700 | 800 | 900 |" in lines and len([l for l in lines if l.startswith("| 1")]) == 0
    assert report.cold_steps({"16/0/cold-broadcast": came[:1]}) == []


def test_steps_of_a_warm_wake():
    lines = report.warm_steps({"4/0/defaults": run(), "4/1/defaults": run()})
    assert "| 4 | broadcast | 20 | 20.0 |" in lines
    assert "| 4 | parallel | 30 | 30.0 |" in lines
    assert report.warm_steps({"4/0/defaults": [sweep("broadcast", "20", "60", lost="1")]}) == []


def test_markdown_of_nothing_and_of_one_run():
    host = {"date": "2026-01-01", "qemu": "QEMU", "cores": 2, "processor": "a processor", "kernels": {},
            "cpu": "a cpu", "linux": "quiet", "linux_most": 64}
    assert "# Wakes side by side" in report.markdown({}, "123abc", host)
    text = report.markdown({"4/0/defaults": run(), "4/0/base": run(warm=(100, 140, 120))}, "123abc", host, "abc")
    assert "### 4 processors" in text and "not there" in text and "of 123abc" in text
    assert "| 4 | defaults broadcast warm | 120 | 60 | 0.50 |" in text


def exercise(what, parking, median, **more):
    return {"ev": "run", "run": what, "park": parking, "parking": parking, "rounds": "200", "median_ns": str(median),
            "max_ns": str(2 * median), **({"one_median_ns": "7"} if what == "call" else {}), **more}


def exercises(mwait=1000000, **more):
    return [{"ev": "firmware", "cpus": "64", "cold_us": "11000", "warm_us": "10000"},
            exercise("call", "mwait", mwait, **more), exercise("call", "pause", 900000),
            exercise("sum", "mwait", 100, alone_ns="170", sum="right")]


def test_figures_of_calls():
    assert report.call_figures_of(exercises()) == {
        "firmware": 10000000, "call mwait": 1000000, "call mwait worst": 2000000, "call mwait one": 7,
        "call pause": 900000, "call pause worst": 1800000, "call pause one": 7,
        "sum mwait": 100, "sum mwait worst": 200, "alone": 170}
    assert "call mwait" not in report.call_figures_of(exercises(lost="1"))
    assert "alone" not in report.call_figures_of([exercise("sum", "mwait", 100, alone_ns="170", sum="wrong")])


@pytest.mark.parametrize("mwait, word", [(1000000, "met"), (1000001, "NOT MET")])
def test_calls_are_judged_at_their_bound(mwait, word):
    kept = {"64/0/calls": exercises(mwait), "2/0/sum": exercises(), "4/0/calls": exercises()}
    lines = report.judge_calls(kept)
    assert [line.split("|")[-2].strip() for line in lines] == [word, "met", "met"]
    assert report.judge_calls({"64/0/calls": [{"ev": "end"}]}) == []
    assert "| 64 | mwait |" in "\n".join(report.calls(kept))


def test_calls_alone():
    host = {"date": "today", "qemu": "QEMU", "cores": 2, "processor": "one"}
    text = report.markdown_of_calls({"4/0/defaults": run(), "64/0/calls": exercises(), "2/0/sum": exercises()}, "x", host)
    assert "| StartupAllAPs over parallel, warm | 4 | at least 20 | 113.33 | met |" in text
    assert "Linux" not in text and "broadcast" not in text
    assert "over an empty call to all, parked by MWAIT | 64 | at least 10 | 10.00 | met |" in text
