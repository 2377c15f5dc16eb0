"""Charts as data, and how models look in them; `plots` draws them, `page` shows them."""
