"""Scores of what tables and plots show: subjects, conditions, means, worst cases."""
