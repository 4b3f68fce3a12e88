"""Outcomes as JUnit XML."""

from pathlib import Path
from xml.etree import ElementTree

from modelapp.app import AppTest
from modelapp.junit import write_junit
from modelapp.matchers import Mismatch
from modelapp.verdicts import Outcome


def outcome(name: str, verdict: str, **facts: object) -> Outcome:
    """An outcome of half a second."""
    return Outcome(test=AppTest(name=name, line=7), verdict=verdict, endpoint="e", seconds=0.5, **facts)  # type: ignore[arg-type]


def test_one_case_a_test_with_its_verdict_place_and_numbers(tmp_path: Path) -> None:
    """A failure is a failure, an inconclusive test an error, and measured values are properties."""
    path = tmp_path / "out" / "junit.xml"
    write_junit(
        path,
        "app",
        {"release": "0123456789abcdef", "loosened g.p95_ms": "250 -> 2000 by profile laptop"},
        "app.toml",
        [
            outcome("good", "pass", measured={"score": 0.75}),
            outcome("bad", "fail", mismatches=(Mismatch("y", "1", "2 <&> \x00\ud800"),)),
            outcome("open", "inconclusive", reason="no cases"),
        ],
    )
    top = ElementTree.parse(path).getroot()
    assert (top.get("tests"), top.get("failures"), top.get("errors"), top.get("time")) == ("3", "1", "1", "1.500")
    good, bad, unsure = top.iter("testcase")
    assert (good.get("name"), good.get("classname"), good.get("line")) == ("good", "app.e", "7")
    assert {item.get("name"): item.get("value") for item in good.iter("property")} == {"score": "0.75"}
    assert [child.tag for child in good] == ["properties"]
    failure = bad.find("failure")
    assert failure is not None
    assert "y expected 1, got 2 <&>" in (failure.get("message") or "")
    error = unsure.find("error")
    assert error is not None
    assert error.get("message") == "no cases"
    suite = top.find("testsuite")
    assert suite is not None
    release = suite.find("properties/property")
    assert release is not None
    assert release.get("value") == "0123456789abcdef"
