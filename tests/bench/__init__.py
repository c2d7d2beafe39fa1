"""The figures that the README quotes: `python -m tests.bench [--short] [NAME ...]`.

Every file in `figures/` answers one question and has one function `measure(bench) -> Figure`. Timings never fail
anything: they are measured side by side on whatever machine this is, and quoted as ratios and medians.
"""
