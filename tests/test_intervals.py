"Intervals of gains over random splits that overlap."
import subprocess
import sys

import numpy as np
import pytest

from collab_nb.intervals import GainInterval,compare_splits,split_interval
from collab_nb.splits import random_split

def test_by_hand():
    "Gains of 1, 2 and 3 have variance 1, so their mean has 1/3 + 1/4; Student's t reaches 4.3027"
    res = split_interval([1, 2, 3])
    half = 4.302653*(1/3+1/4)**.5
    assert np.allclose([res.mean, res.low, res.high], [2, 2-half, 2+half], atol=1e-5)
    assert (res.k, res.level) == (3, .95)

def test_one_line():
    assert str(GainInterval(.0095, .0062, .0128, 5)) == '+0.0095 (95% interval +0.0062 to +0.0128, 5 splits)'
    assert f'{GainInterval(-.01, -.02, 0., 3, .975)}' == '-0.0100 (97.5% interval -0.0200 to +0.0000, 3 splits)'

def test_clear():
    assert GainInterval(.2, .1, .3, 5).clear and GainInterval(-.2, -.3, -.1, 5).clear
    assert not GainInterval(.1, -.1, .3, 5).clear and not GainInterval(.1, 0., .2, 5).clear

def test_coverage_on_the_splits_we_use():
    "Two models whose errors differ by chance alone, row by row, on five random splits of each of 600 tables"
    rng,n = np.random.default_rng(0),200
    valid = [random_split(range(n), seed=seed)[1] for seed in range(5)]
    inside = naive = 0
    for _ in range(600):
        rows = rng.normal(size=n)
        gains = np.array([rows[v].mean() for v in valid])
        res = split_interval(gains)
        inside += res.low <= 0 <= res.high
        naive += abs(gains.mean()) <= (res.high-res.mean)*(1/5/(1/5+1/4))**.5
    assert .93 < inside/600 < .975
    assert naive/600 < .9

def test_more_splits_cannot_replace_ratings():
    "The interval's width stays above the part that only a larger table would take away"
    gains = np.random.default_rng(1).normal(size=1000)
    res = split_interval(gains)
    assert res.high-res.mean > 1.95*.5*gains.std(ddof=1)

def test_compare():
    assert compare_splits([3, 4], [1, 1]) == split_interval([2, 3])
    assert compare_splits([3, 4], [1, 1], test_share=.5, level=.8) == split_interval([2, 3], .5, .8)
    same = compare_splits([3, 4], [3, 4])
    assert (same.mean, same.low, same.high, same.clear) == (0, 0, 0, False)

@pytest.mark.parametrize('f, why', [
    (lambda: split_interval([1]), r'at least two splits, got an array of shape \(1,\)'),
    (lambda: split_interval(1.), r'at least two splits, got an array of shape \(\)'),
    (lambda: split_interval([[1, 2]]), r'shape \(1, 2\)'),
    (lambda: split_interval([1, None]), 'must be finite, got nan for split 1'),
    (lambda: split_interval([np.inf, 1]), 'must be finite, got inf for split 0'),
    (lambda: split_interval('gains'), "gains must be numbers, one per split, got 'gains'"),
    (lambda: split_interval([[1], [1, 2]]), 'gains must be numbers, one per split'),
    (lambda: split_interval([1, 2], test_share=20), 'test_share must be between 0 and 1, got 20'),
    (lambda: split_interval([1, 2], level=np.nan), 'level must be between 0 and 1, got nan'),
    (lambda: compare_splits([1, 2], [1, 2, 3]), 'on the same splits, got 2 and 3'),
    (lambda: compare_splits([1, 2], [1, np.nan]), 'errors of the model must be finite')])
def test_refuse(f, why):
    with pytest.raises(ValueError, match=why): f()

def test_light():
    "SciPy is imported when an interval is asked for, and torch never"
    code = '''
import sys
from collab_nb.intervals import split_interval
assert not {'scipy', 'torch', 'fastai'} & set(sys.modules)
split_interval([1, 2])
assert 'scipy' in sys.modules and 'torch' not in sys.modules
'''
    subprocess.run([sys.executable, '-c', code], check=True)
