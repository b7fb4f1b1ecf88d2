"""Ablations: what to train and compare (`plan`, `cells`, `settings`, `study_file`), a study's directory (`study`), the
process that trains its cells as ordinary runs (`queue`, `schedule`, `places`, `crew`), how far it is (`progress`), and
what came out (`results`, `statistics`, `analysis`, `effects`, `report`, `markdown`). Light to import: no torch."""
