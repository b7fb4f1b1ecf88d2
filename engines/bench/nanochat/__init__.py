"""`bench nanochat`: a benchmark against karpathy/nanochat with the same text, token budget and scorer on both sides.

Everything is measured in a process of its own. "ours" is nanochat-tui, "upstream" is karpathy/nanochat.

settings, budgets   the options and the sizes of a benchmark       corpus       the text for both sides
tasks               the processes of a benchmark                   report, table_rows, summaries   the report
benchmark           runs a benchmark and records the results
our_training, our_model, our_decoding                         our side
upstream_training, upstream_model, upstream_seed              the other side
decoding, scorer, reliability                                 what is measured on both sides
"""
