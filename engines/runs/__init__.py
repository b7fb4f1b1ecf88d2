"""A run's directory: created and found (`store`), written (`log`), read (`reader`, `history`), asked (`control`),
judged alive or not (`liveness`) and set going (`launch`). Light to import: no torch, no numpy."""
