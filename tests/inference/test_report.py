from synhead.inference.report import spans, summary


def test_spans():
    assert spans([]) == ()
    assert spans([3, 4, 5, 9]) == ((3, 5), (9, 9))


def test_summary_stays_short():
    assert summary([3, 4, 5, 9]) == "3-5, 9"
    assert summary(range(0, 20, 2)) == "0, 2, 4, 6 and 6 more runs"
