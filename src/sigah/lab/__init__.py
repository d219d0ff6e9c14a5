"""The laboratory: data sets, the paper's experiments, reports and the demo (``sigah[lab]``)."""
