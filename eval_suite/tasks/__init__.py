"""The evaluations: each takes a backbone through fit, predict and score to its record, and knows no other."""
