"""`bench cpu`: training, sampling and start-up on a CPU, compared with karpathy/nanoGPT and karpathy/nanochat.

Every figure is measured in processes of its own, each side in turn within every round.

settings          the options                                benchmark     runs the parts and writes the report
corpus            the text, and nanoGPT's files of it        figures       figures with their goals
sides             the commands of each side, and what their output says
training, generation, startup, scalar      the parts of the benchmark
matmul_rates, our_decoding, nanogpt_decoding, nanochat_decoding    programs that measure, and print JSON
"""
