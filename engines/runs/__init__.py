"""A run's directory: created and found (`store`), written (`log`), read (`reader`, `history`), asked (`control`),
judged alive or not (`liveness`) and set going (`launch`); and its checkpoints, asked to speak in a process of their own
(`sampler_client`). Light to import: no torch, no numpy."""
