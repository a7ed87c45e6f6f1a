"""Evaluation of models: suites, execution match, scores, the gate and its report."""
