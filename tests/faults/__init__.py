"""The fault campaign: kills, damaged files, full disks, invalid input and random keys, for any length of time.

`make faults` runs every part, `make faults PART=kills N=200` one of them; results accumulate per commit in
`results/faults.json` and are summarised in `results/faults.md`. `campaign.py` runs parts and keeps the results,
`sandbox.py` confines them to a temporary folder, `test_short_campaign.py` is the short form in `make test`, and every
other module is one part.
"""
