"Splits, metrics and intervals of chapter 08, on small tables and against slow witnesses"
import numpy as np
import pandas as pd
import pytest
import torch

from collab_nb.data import synth_ratings
from collab_nb.evaluate import (
    Scores, bootstrap, coverage, evaluate, hit_rate_at_k, hold_out, ndcg_at_k, popular, popularity_bias, precision_at_k,
    recall_at_k, seeds_needed, top_k)

@pytest.fixture(scope='module')
def planted(): return synth_ratings(120, 80, 4_000, seed=1)

@pytest.fixture(scope='module')
def parts(planted):
    train,valid = hold_out(planted, 5, 10)
    return planted.iloc[train],planted.iloc[valid]

def slow_metrics(scores, seen, wanted, k):
    "precision, recall, ndcg, hit rate of one user from a list of scores and sets of positions"
    best = sorted((i for i in range(len(scores)) if i not in seen), key=lambda i: -scores[i])[:k]
    hits = [i in wanted for i in best]
    gain = sum(h/np.log2(r+2) for r,h in enumerate(hits))
    perfect = sum(1/np.log2(r+2) for r in range(min(k, len(wanted))))
    return [sum(hits)/k, sum(hits)/len(wanted), gain/perfect, float(any(hits))]

def test_hold_out(planted):
    for splits in (hold_out(planted, 5, 10), hold_out(planted, 5, 10, timestamp='timestamp')):
        train,valid = splits
        assert train.dtype == valid.dtype == np.int64
        np.testing.assert_array_equal(np.sort(np.concatenate(splits)), np.arange(len(planted)))
        counts,size = planted.iloc[valid].groupby('user').size(),planted.groupby('user').size()
        assert (counts == 5).all() and set(counts.index) == set(size[size >= 10].index)
    train,valid = (planted.iloc[s] for s in splits)
    latest = train.groupby('user').timestamp.max()
    assert (latest.reindex(valid.user).to_numpy() <= valid.timestamp.to_numpy()).all()

def test_hold_out_takes_any_index(planted):
    shuffled = planted.set_index(np.repeat(7, len(planted)))     # an index that says nothing
    for a,b in zip(hold_out(planted, 5, 10), hold_out(shuffled, 5, 10), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(hold_out(planted, 5, 10, seed=3)[1], hold_out(planted, 5, 10, seed=3)[1])
    assert not np.array_equal(hold_out(planted, 5, 10, seed=3)[1], hold_out(planted, 5, 10, seed=4)[1])

@pytest.mark.parametrize('kwargs, words', [
    (dict(n=0), 'right is'), (dict(n=5, at_least=5), 'right is'), (dict(n=500), 'no user'),
    (dict(user='who'), "no column 'who'"), (dict(timestamp='when'), "no column 'when'")])
def test_hold_out_says_what_is_wrong(planted, kwargs, words):
    with pytest.raises(ValueError, match=words): hold_out(planted, **kwargs)

def test_hold_out_misses_no_time(planted):
    gap = planted.assign(timestamp=planted.timestamp.where(planted.user != 1))
    with pytest.raises(ValueError, match='NaN'): hold_out(gap, 5, timestamp='timestamp')

@pytest.mark.parametrize('k', [1, 3, 10, 40])
def test_metrics_agree_with_a_loop(k):
    g = torch.Generator().manual_seed(k)
    scores,relevant,seen = (torch.rand(30, 25, generator=g) for _ in range(3))
    relevant,seen = relevant < .2,seen < .2
    relevant &= ~seen
    top = top_k(scores, k, seen)
    assert top.shape == (30, k)
    hits,n = relevant.gather(1, top.clamp(min=0)) & (top >= 0),relevant.sum(1)
    fast = torch.stack([m(hits, n) for m in (precision_at_k, recall_at_k, ndcg_at_k, hit_rate_at_k)], dim=1)
    for u in range(30):
        wanted = set(relevant[u].nonzero()[:,0].tolist())
        if not wanted:
            assert fast[u].isnan().all()
            continue
        slow = slow_metrics(scores[u].tolist(), set(seen[u].nonzero()[:,0].tolist()), wanted, k)
        assert fast[u].tolist() == pytest.approx(slow, abs=1e-5)

def test_ties_go_by_lot():
    shown = torch.cat([top_k(torch.zeros(1, 50), 5, seed=s) for s in range(200)])
    assert all(len(set(row)) == 5 for row in shown.tolist())
    assert len(shown.unique()) == 50 and abs(shown.float().mean().item()-24.5) < 1.5
    torch.testing.assert_close(top_k(torch.zeros(2, 50), 5, seed=1), top_k(torch.zeros(2, 50), 5, seed=1))

def test_nothing_left_to_show():
    assert top_k(torch.rand(1, 3), 2, torch.ones(1, 3, dtype=bool)).tolist() == [[-1, -1]]
    assert coverage(torch.tensor([[-1, -1]]), 3) == 0
    assert popularity_bias(torch.tensor([[2, -1]]), torch.tensor([1, 2, 9])) == 9

def test_evaluate_counts_what_the_model_does_not_know(parts):
    train,test = parts
    rec = popular(train)
    strange = pd.concat([test, pd.DataFrame({'user': test.user.unique(), 'movie': 10_000, 'rating': 5.})])
    a,b = evaluate(rec, test, train),evaluate(rec, strange, train)
    np.testing.assert_allclose(b.recall, a.recall*5/6, atol=1e-6)
    np.testing.assert_array_equal(b.precision, a.precision)
    assert a.attrs.keys() == {'k', 'coverage', 'popularity'}
    pd.testing.assert_frame_equal(a, evaluate(rec, test, train, bs=7))

@pytest.mark.parametrize('change, words', [
    (lambda t: t.assign(user=-1), 'user -1'), (lambda t: t[:0], 'no held-out'),
    (lambda t: t[['user']], "no column 'movie'")])
def test_evaluate_says_what_is_wrong(parts, change, words):
    with pytest.raises(ValueError, match=words): evaluate(popular(parts[0]), change(parts[1]), parts[0])

def test_evaluate_wants_a_score_for_each_item(parts):
    class Short(Scores):
        def scores(self, users): return torch.zeros(2, 2)
    train,test = parts
    base = popular(train)
    with pytest.raises(ValueError, match='shape'): evaluate(Short(base.users, base.items, base.table), test, train)

def test_scores_fit_their_ids():
    with pytest.raises(ValueError, match='right is'): Scores([1, 2], [1], torch.zeros(1, 2))

def test_seeds_and_bootstrap():
    assert seeds_needed(1, 0) == 2 and seeds_needed(.1, 1) > seeds_needed(1, 1) == seeds_needed(-1, 1)
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(60):     # about 95% of intervals hold the truth
        mean,lo,hi = bootstrap(rng.normal(.2, 1, 200), np.zeros(200), n=300)
        inside += lo < .2 < hi
    assert 51 <= inside <= 60
    with pytest.raises(ValueError, match='no user'): bootstrap([np.nan], [1.])
