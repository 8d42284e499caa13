"""How close our numbers are to a peer's, told a line each; what is not close enough is remembered."""
import torch

failed = []


def check(what, value, limit, note=""):
    good = value <= limit
    print(f"  {what:44s} {value:9.2e}  (at most {limit:.0e}{note}){'' if good else '   DIFFERS'}", flush=True)
    if not good:
        failed.append(what)


def relative(ours, theirs):
    """Norm of the difference over the norm, in f64."""
    ours, theirs = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-30))
