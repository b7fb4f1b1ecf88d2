"""`python -m faults`: run the campaign, or one part of it."""

import argparse
import sys
from pathlib import Path

from faults import campaign


def main() -> int:
    """Return 1 if any case violated its guarantee."""
    parser = argparse.ArgumentParser(prog="make faults", description="Try faults; the results accumulate per commit.")
    parser.add_argument(
        "--part", choices=list(campaign.NAMES), action="append", help="default: all that this machine can run"
    )
    parser.add_argument("-n", "--cases", type=int, default=0, help="cases of each part (default: its full number)")
    parser.add_argument("--seed", type=int, help="default: one that this commit has not tried yet")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full number of cases")
    parser.add_argument("--results", type=Path, default=campaign.RESULTS, help="folder of faults.json and faults.md")
    parser.add_argument("--commit", help="what is tested, where the checkout is a copy without its history")
    options = parser.parse_args()
    commit = options.commit or campaign.commit()
    violated = False
    for name in options.part or filter(campaign.runs_here, campaign.NAMES):
        seed = campaign.next_seed(options.results, commit, name) if options.seed is None else options.seed
        cases = options.cases or max(1, round(campaign.part(name).target * options.scale))
        tally = campaign.run_part(name, cases, seed, lambda line: print(line, file=sys.stderr, flush=True))
        campaign.record(options.results, commit, name, tally, seed)
        print(f"{name}: {tally.cases:,} cases with seed {seed}, {len(tally.violations)} violations", flush=True)
        violated = violated or bool(tally.violations)
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main())
