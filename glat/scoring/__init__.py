"""What a trained run scores: predictions, metrics, their intervals, what it costs."""
