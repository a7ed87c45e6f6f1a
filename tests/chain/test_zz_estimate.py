from tests.chain.test_estimate import took_and_estimated


def test_estimate_again(lab):
    for seed in (43, 44):
        took, estimated = took_and_estimated(lab, seed)
        print(f"estimated {estimated:.1f} s, took {took:.1f} s", flush=True)
