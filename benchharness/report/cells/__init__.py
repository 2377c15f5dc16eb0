"""The cells of a store as a report shows them: labelled rows, and their scores."""
