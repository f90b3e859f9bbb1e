"Splits, metrics and intervals of chapter 08, on small tables and against slow witnesses"
import numpy as np
import pandas as pd
import pytest
import torch

from collab_nb.data import synth_ratings
from collab_nb.evaluate import (
    Scores, bootstrap, coverage, evaluate, hit_rate_at_k, hold_out, ndcg_at_k, pair_mask, popular, popularity_bias,
    precision_at_k, recall_at_k, top_k)

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
    (dict(n=0), 'n must be a whole number, 1 or more, got 0'), (dict(n=2.5), 'got 2.5'), (dict(n=True), 'got True'),
    (dict(n=5, at_least=5), 'n must be less than at_least, .* got 5 and 5'), (dict(n=500), 'no user'),
    (dict(seed=-1), 'seed must be'),
    (dict(user='who'), "no column 'who'"), (dict(timestamp='when'), "no column 'when'")])
def test_hold_out_says_what_is_wrong(planted, kwargs, words):
    with pytest.raises(ValueError, match=words): hold_out(planted, **kwargs)

def test_numpy_integers_are_integers(planted, parts):
    five,two = np.int64(5),np.int32(2)
    a,b = hold_out(planted, five, np.int64(10), seed=two),hold_out(planted, 5, 10, seed=2)
    np.testing.assert_array_equal(a[1], b[1])
    scores = torch.rand(3, 9)
    torch.testing.assert_close(top_k(scores, np.int64(20), seed=two), top_k(scores, 20, seed=2))
    train,test = parts
    pd.testing.assert_frame_equal(evaluate(popular(train), test, train, k=five, bs=two, seed=np.uint8(3)),
                                  evaluate(popular(train), test, train, k=5, bs=2, seed=3))

def test_hold_out_refuses_text_as_time(planted):
    for text in (planted.timestamp.astype(str), planted.timestamp.astype(str).astype('category').cat.as_ordered()):
        with pytest.raises(ValueError, match="times must be numbers or dates, got '.*' of type str in column 'timest"):
            hold_out(planted.assign(timestamp=text), 5, timestamp='timestamp')
    dates = planted.assign(timestamp=pd.to_datetime(planted.timestamp, unit='s', utc=True))
    for a,b in zip(hold_out(dates, 5, timestamp='timestamp'), hold_out(planted, 5, timestamp='timestamp'), strict=True):
        np.testing.assert_array_equal(a, b)

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

def test_each_user_has_an_order_of_their_own():
    "A model that scores everything alike spreads its lists over the catalog"
    shown = top_k(torch.zeros(4000, 50), 10)
    assert all(len(set(row)) == 10 for row in shown.tolist())
    often = shown.flatten().bincount(minlength=50)
    assert (often-800).abs().max() < 5*(800*.8)**.5     # each item 800 times, up to chance
    at_first = shown[:,0].bincount(minlength=50)        # and at the top of 80 lists
    assert (at_first-80).abs().max() < 5*80**.5
    pairs = torch.zeros(50, 50)
    for row in shown: pairs[row[:,None], row] += 1      # and with each other item in 4000*10*9/(50*49)
    pairs.fill_diagonal_(147)
    assert (pairs-147).abs().max() < 6*147**.5
    assert len(shown.unique(dim=0)) > 3990

def test_ties_within_a_list_are_drawn_too():
    "Three best are level, then three that compete for two places"
    shown = top_k(torch.tensor([[5., 1, 5, 1, 5, 1, 0]]).expand(3000, -1), 5)
    assert (shown[:,:3].sort(dim=1).values == torch.tensor([0, 2, 4])).all()
    for place in range(3): assert (shown[:,place].bincount(minlength=6)[[0, 2, 4]] - 1000).abs().max() < 130
    for place in (3, 4): assert (shown[:,place].bincount(minlength=6)[[1, 3, 5]] - 1000).abs().max() < 130

def test_a_list_depends_on_the_user_alone():
    "Not on the other rows, nor on where the user stands among them"
    scores = torch.randint(0, 4, (60, 40), generator=torch.Generator().manual_seed(0)).float()
    names = [f'u{u}' for u in range(60)]
    full = top_k(scores, 7, users=names)
    some = torch.randperm(60, generator=torch.Generator().manual_seed(1))[:20]
    torch.testing.assert_close(top_k(scores[some], 7, users=[names[u] for u in some]), full[some])
    torch.testing.assert_close(top_k(scores[:9], 7), top_k(scores, 7)[:9])
    assert not torch.equal(top_k(scores, 7, users=names, seed=1), full)
    best = scores.gather(1, full)
    torch.testing.assert_close(best, scores.topk(7, dim=1).values)
    assert (scores.gather(1, top_k(scores, 40)) == scores.sort(dim=1, descending=True).values).all()

@pytest.mark.parametrize('make', [
    lambda t: t.numpy(), lambda t: t.double(), lambda t: t.numpy()[:,::-1].copy()[:,::-1], lambda t: t.long(),
    lambda t: t.tolist(), lambda t: np.broadcast_to(t.numpy(), t.shape), lambda t: t.clone().requires_grad_()])
def test_scores_of_any_kind(make):
    scores = torch.randint(0, 5, (20, 30), generator=torch.Generator().manual_seed(0)).float()
    torch.testing.assert_close(top_k(make(scores), 6), top_k(scores, 6))
    without = scores.numpy() > 3
    torch.testing.assert_close(top_k(make(scores), 6, without), top_k(scores, 6, torch.from_numpy(without)))
    assert (scores == 0).any()     # `without` was not written into them

def test_infinite_scores():
    inf = torch.inf
    assert top_k(torch.tensor([[-inf, 1, inf, -inf]]), 3).tolist() == [[2, 1, -1]]
    assert set(top_k(torch.tensor([[inf, 1, inf]]), 2)[0].tolist()) == {0, 2}
    with pytest.raises(ValueError, match='got NaN for 1 users'): top_k(torch.tensor([[1., torch.nan], [1, 2]]))

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

class Alike:
    "Scores everything alike, as a NumPy array, and knows how many users it's asked for at once"
    def __init__(self, users, items): self.users,self.items,self.asked = users,items,[]
    def scores(self, users):
        self.asked.append(len(users))
        return np.zeros((len(users), len(self.items)))

def test_ties_help_no_item():
    "Every item is held out by as many users: its hit rate is the same, up to chance"
    test = pd.DataFrame({'user': range(5000), 'movie': np.arange(5000) % 50})
    found = evaluate(Alike(range(5000), range(50)), test, k=10)
    by_item = found.hit_rate.groupby(np.arange(5000) % 50).mean()     # 100 users each
    assert by_item.between(.03, .4).all() and by_item.std() == pytest.approx(.04, abs=.015)
    assert found.hit_rate.mean() == pytest.approx(.2, abs=.025) and found.attrs['coverage'] == 1

def test_blocks_change_nothing(parts):
    train,test = parts
    rec = Alike(sorted(train.user.unique()), sorted(train.movie.unique()))
    full = evaluate(rec, test, train)
    for bs in (1, 7, 10_000): pd.testing.assert_frame_equal(evaluate(rec, test, train, bs=bs), full)
    some = test[test.user % 3 == 0]
    pd.testing.assert_frame_equal(evaluate(rec, some, train), full[full.index % 3 == 0], check_like=True)
    assert not evaluate(rec, test, train, seed=1).equals(full)

def test_the_catalog_decides_the_block():
    users = list(range(40))
    test = pd.DataFrame({'user': users, 'movie': 3})
    rec = Alike(users, range(500_000))
    evaluate(rec, test)
    assert rec.asked == [8]*5

def test_repeated_rows_count_once(parts):
    train,test = parts
    a,b = evaluate(popular(train), test, train),evaluate(popular(train), pd.concat([test, test]), train)
    pd.testing.assert_frame_equal(a, b)

def test_popular_is_one_row():
    many = pd.DataFrame({'user': range(300_000), 'movie': np.arange(300_000) % 20_000})     # as a table: 24 GB
    rec = popular(many)
    assert rec.scores([7, 9]).shape == (2, 20_000) and rec.table.untyped_storage().nbytes() == 80_000

def missing(df, col): return df.assign(**{col: df[col].where(df.user != 3)})

KINDS = {
    'test items': (lambda train, test, m: (m, test.astype({'movie': str}), train),
                   "column 'movie' has ids of type str, the model's items are of type int"),
    'test users': (lambda train, test, m: (m, test.astype({'user': str}), train),
                   "column 'user' has ids of type str, the model's users are of type int"),
    'train items': (lambda train, test, m: (m, test, train.astype({'movie': 'string'})), "'movie' has ids of type str"),
    'train users': (lambda train, test, m: (m, test, train.astype({'user': str})), "'user' has ids of type str"),
    'text as category': (lambda train, test, m: (m, test.astype({'movie': str}).astype({'movie': 'category'}), train),
                         "'movie' has ids of type str"),
    'model of text': (lambda train, test, m: (popular(train.astype({'movie': str})), test, train),
                      "column 'movie' has ids of type int, the model's items are of type str"),
    'NaN in test': (lambda train, test, m: (m, missing(test, 'movie'), train), "'movie' is empty .NaN. in 5 of"),
    'NaN in train': (lambda train, test, m: (m, test, missing(train, 'movie')), "'movie' is empty .NaN."),
    'NaN user in test': (lambda train, test, m: (m, missing(test, 'user'), train), "'user' is empty .NaN. in 5 of"),
    'NaN user in train': (lambda train, test, m: (m, test, missing(train, 'user')), "'user' is empty"),
    'floats': (lambda train, test, m: (m, test.astype({'movie': float}), train), 'must be int or str, got .* float'),
    'repeated item': (lambda train, test, m: (Alike(m.users, [*m.items, m.items[0]]), test, train), 'must differ'),
    'no table': (lambda train, test, m: (m, test.to_numpy(), train), 'test must be a table .* got a ndarray'),
    'train is no table': (lambda train, test, m: (m, test, [1, 2]), 'train must be a table .* got a list'),
    'no such k': (lambda train, test, m: (m, test, train, 2.5), 'k must be a whole number, 1 or more, got 2.5'),
}

@pytest.mark.parametrize('name', KINDS)
def test_ids_that_cannot_match_are_refused(parts, name):
    change,words = KINDS[name]
    with pytest.raises(ValueError, match=words): evaluate(*change(*parts, popular(parts[0])))

def test_ids_of_the_same_type_in_other_dtypes(parts):
    train,test = parts
    base = evaluate(popular(train), test, train)
    for dtype in ('int16', 'Int64', 'category', object):
        other = [p.astype({'user': dtype, 'movie': dtype}) for p in (test, train)]
        found = evaluate(popular(train), *other)
        np.testing.assert_array_equal(found.to_numpy(), base.to_numpy())
        assert found.attrs == base.attrs

def test_held_out_rows_that_are_also_in_train_are_refused(parts):
    train,test = parts
    rec,again = popular(train),train[train.user == 2].head(3)
    words = rf"held-out pairs must not be in train, got 3 that are, the first \(2, {again.movie.min()}\)"
    with pytest.raises(ValueError, match=words): evaluate(rec, pd.concat([test, again, again]), train)
    with pytest.raises(ValueError, match=r"drop_duplicates\(\['user', 'movie'\]\)"):     # bad ones, too
        evaluate(rec, pd.concat([test, again.assign(rating=1.)]), train, at_least=4)
    new = again.assign(movie=-5)                             # the model doesn't know it, and train has it
    with pytest.raises(ValueError, match=r'got 1 that are, the first \(2, -5\)'):
        evaluate(rec, pd.concat([test, new]), pd.concat([train, new]))
    evaluate(rec, pd.concat([test, again]))                  # without train nothing is left out

def test_a_train_without_rows(parts):
    train,test = parts
    a,b = evaluate(popular(train), test, train[:0]),evaluate(popular(train), test)
    pd.testing.assert_frame_equal(a, b)

def test_pair_mask_of_other_types(parts):
    with pytest.raises(ValueError, match="model's items are of type str"): pair_mask(parts[0], [1, 2], ['1', '2'])
    with pytest.raises(ValueError, match="no column 'what'"): pair_mask(parts[0], [1], [1], item='what')
    users,items = parts[0].user[:3].tolist(),parts[0].movie[:3].tolist()
    marks = pair_mask(parts[0], users[:1], items)
    assert marks.tolist() == [[((parts[0].user == users[0]) & (parts[0].movie == i)).any() for i in items]]

def test_tables_of_any_kind(planted, parts, as_other):
    other = as_other(planted)
    for timestamp in (None, 'timestamp'):
        for a,b in zip(hold_out(other, 5, 10, timestamp), hold_out(planted, 5, 10, timestamp), strict=True):
            np.testing.assert_array_equal(a, b)
    train,test = (as_other(p) for p in parts)
    rec = popular(train)
    assert rec.items == popular(parts[0]).items
    base = evaluate(popular(parts[0]), parts[1], parts[0], at_least=3)
    pd.testing.assert_frame_equal(evaluate(rec, test, train, at_least=3), base)
    assert torch.equal(pair_mask(train, rec.users, rec.items), pair_mask(parts[0], rec.users, rec.items))

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
    with pytest.raises(ValueError, match=r'the table must have the shape \(2, 1\), got \(1, 2\)'):
        Scores([1, 2], [1], torch.zeros(1, 2))

def test_bootstrap():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(60):     # about 95% of intervals hold the truth
        mean,lo,hi = bootstrap(rng.normal(.2, 1, 200), np.zeros(200), n=300)
        inside += lo < .2 < hi
    assert 51 <= inside <= 60
    with pytest.raises(ValueError, match='no user'): bootstrap([np.nan], [1.])
