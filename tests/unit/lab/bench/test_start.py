"""The figures of the benchmark of starts."""

from emostream_lab.bench import start


def test_a_figure_compares_the_medians_of_the_rounds() -> None:
    seconds = {
        True: [{"aggregator killed": value} for value in (4.0, 30.0, 5.0)],
        False: [{"aggregator killed": value} for value in (10.0, 9.0, 60.0)],
    }
    figure = start.figure("aggregator killed", seconds)
    assert (figure.value, figure.at_most) == (0.5, 0.6)
    assert figure.note == "5.0 s of 10.0 s"
