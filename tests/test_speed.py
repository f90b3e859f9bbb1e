"The compiled loop against arithmetic and planted tables, its bits on any number of threads, and what it refuses"
import sys
from threading import Thread

import numpy as np
import pandas as pd
import pytest

from collab_nb.data import synth_ratings
from collab_nb.serving import KnownRatings,Recommender

speed = pytest.importorskip('collab_nb.further.speed')
fit_fast = speed.fit_fast

@pytest.fixture(scope='module')
def made(): return synth_ratings(400, 250, 20_000, n_factors=4, noise=.5, seed=1)

def mse(rec, t): return float(((rec.predict(t.user, t.movie).clip(1, 5)-t.rating)**2).mean())
def same(a, b): return (a.item_table == b.item_table).all() and (a._vectors(a.users) == b._vectors(b.users)).all()

def one_epoch(P, Q, d, u, i, r, lr):
    "The update in NumPy, in double precision, a rating at a time"
    P,Q = P.astype(float),Q.astype(float)
    for a,b,y in zip(u, i, r):
        p,q = P[a].copy(),Q[b].copy()
        e = y - p[d] - q[d] - p[:d]@q[:d]
        for row,x,other in ((P[a], p, q), (Q[b], q, p)):
            g = e*other[:d] - x[d+3]*x[:d]
            row[:d] += lr/np.sqrt(x[d+1])*g
            row[d+1] += (g**2).mean()
            g = e - x[d+3]*x[d]
            row[d] += lr/np.sqrt(x[d+2])*g
            row[d+2] += g**2
    return P,Q

@pytest.mark.parametrize('d', [1, 3, 16, 50])
def test_the_loop_does_the_arithmetic(d):
    rng = np.random.default_rng(d)
    P,Q = (rng.normal(0, .3, (n, d+4)).astype(np.float32) for n in (7, 5))
    for rows in (P, Q): rows[:,d+1:] = rng.uniform(.1, 1, (len(rows), 3))
    u,i = (rng.integers(n, size=200).astype(np.int32) for n in (7, 5))
    r = rng.normal(size=200).astype(np.float32)
    wanted = one_epoch(P, Q, d, u, i, r, .05)
    speed._learn(P, Q, d, u, i, r, np.float32(.05))
    for got,want in zip((P, Q), wanted): np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3)

@pytest.mark.parametrize('n', [0, 1, 2, 1000])
def test_a_shuffle_loses_nothing_and_mixes(n):
    given = [np.arange(n, dtype=t) for t in (np.int32, np.int32, np.float32)]
    a,b,c = speed._shuffled(*given, 3)
    assert sorted(a) == list(range(n)) and (a == b).all() and (a == c).all()
    assert all((g == np.arange(n)).all() for g in given)     # they're read again in the next epoch
    if n == 1000:
        assert abs(np.corrcoef(a, np.arange(n))[0,1]) < .1 and (a == np.arange(n)).sum() < 10
        assert (speed._shuffled(*given, 4)[0] != a).any()

def test_every_place_is_as_likely():
    where = np.zeros((6, 6))
    a = np.arange(6, dtype=np.int32)
    for seed in range(6000): where[np.arange(6),speed._shuffled(a, a, a.astype(np.float32), seed)[0]] += 1
    assert np.abs(where/1000 - 1).max() < .15

@pytest.mark.parametrize('n_groups', [1, 2, 7])
def test_blocks_hold_every_rating_once(n_groups):
    rng = np.random.default_rng(0)
    u,i = rng.integers(30, size=500).astype(np.int32),rng.integers(20, size=500).astype(np.int32)
    r = np.arange(500, dtype=np.float32)
    places = [rng.permutation(n).astype(np.int32) for n in (30, 20)]
    bu,bi,br,starts = speed.into_blocks(u, i, r, *places, n_groups)
    assert starts[0] == 0 and starts[-1] == 500 and len(starts) == n_groups**2+1
    row = br.astype(int)
    assert (np.sort(br) == r).all() and (places[0][u[row]] == bu).all() and (places[1][i[row]] == bi).all()
    block = bu*n_groups//30*n_groups + bi*n_groups//20
    assert (block == np.repeat(np.arange(n_groups**2), np.diff(starts))).all()
    assert all((np.diff(br[a:b]) > 0).all() for a,b in zip(starts, starts[1:]))      # in the order they came

@pytest.mark.parametrize('sizes', [(1, 1), (5, 300), (64, 7), (1000, 999)])
def test_a_schedule_cuts_tables_into_groups(sizes):
    counts = [np.arange(1, n+1) for n in sizes]
    plan = speed.Schedule(n_factors=3, reg=.1, nu=.5, seed=5).cut(*counts)
    for side,(n,count) in enumerate(zip(sizes, counts)):
        starts = plan.starts(side)
        assert starts[0] == 0 and starts[-1] == n and (np.diff(starts) >= 0).all() and np.ptp(np.diff(starts)) <= 1
        assert (np.arange(n)*plan.n_groups//n == np.repeat(np.arange(plan.n_groups), np.diff(starts))).all()
        rows = np.concatenate([plan.rows(side, g) for g in range(plan.n_groups)])
        assert len(rows) == n and len(np.unique(rows[:,0])) == n
        np.testing.assert_allclose(rows[plan.places[side],6], 1/count**.5, rtol=1e-6)
        assert (plan.rows(side, 3) == plan.rows(side, 3)).all()

@pytest.mark.parametrize('sizes', [(5, 4, 0), (5, 4, 1), (5, 4, 60), (50, 40, 1500), (300, 1, 500), (1, 300, 500)])
def test_who_rated_what_is_what_the_recommender_would_sort(sizes):
    n,m,k = sizes
    rng = np.random.default_rng(k)
    u,i = rng.integers(n, size=k).astype(np.int32),rng.integers(m, size=k).astype(np.int32)
    r = rng.random(k).astype(np.float32)
    a,b = speed._known(u, i, r, n, m),KnownRatings.from_pairs(u, i, r, n)
    for got,want in zip((a.starts, a.items, a.values), (b.starts, b.items, b.values)):
        assert (got == want).all() and got.dtype == want.dtype

def test_it_learns_what_was_planted(made):
    train,valid = made.iloc[:18_000],made.iloc[18_000:]
    valid = valid[valid.movie.isin(train.movie) & valid.user.isin(train.user)]
    averages = ((valid.movie.map(train.groupby('movie').rating.mean()) - valid.rating)**2).mean()
    floor = made.attrs['truth'].floor(valid.user, valid.movie)
    rec = fit_fast(train, reg=.05)
    assert floor < mse(rec, valid) < floor + .55*(averages-floor)
    assert mse(rec, valid) < mse(fit_fast(train, reg=.05, n_factors=1), valid) - .02     # factors do something
    assert mse(fit_fast(train, reg=5.), valid) > mse(rec, valid) + .1                    # and decay holds them back

@pytest.mark.parametrize('unit,zero', [(25, -25), (.1, 0), (5, -15)])
def test_any_scale_of_ratings(made, unit, zero, tmp_path):
    "Ratings, guests, new items and saved models: the same in another unit"
    def there(r): return r*unit + zero
    train = made[made.movie > 1].drop(columns='title')
    one,other = fit_fast(train, epochs=5),fit_fast(train.assign(rating=there(train.rating)), epochs=5)
    new = made[made.movie == 1].drop(columns='title')
    one = one.update(new)
    other.save(tmp_path/'m')
    other = Recommender.load(tmp_path/'m')
    other = other.update(new.assign(rating=there(new.rating)))
    assert 1 in one.items
    mine = dict(zip(one.items[::50], (1., 5., 2., 4., 3.)))
    for a,b in ((one.users[0], other.users[0]),
                (one.fold_in(mine), other.fold_in({i: there(r) for i,r in mine.items()}))):
        np.testing.assert_allclose(other.predict(b, one.items), there(one.predict(a, one.items)), atol=.01*unit)

def test_zero_and_one_of_the_ratings_learned():
    plan = speed.Schedule().cut(np.array([4]), np.array([1, 3]))
    r = np.array([2., 4, 3, 5])
    assert np.allclose(plan.level(r.sum(), (r**2).sum()), (r.mean()-r.std(), r.std()))
    assert plan.level(16., 64.) == (4, 1)     # equal ratings have no spread

@pytest.mark.parametrize('threads', [2, 3, 16])
def test_the_same_bits_on_any_number_of_threads(made, threads):
    assert same(fit_fast(made, epochs=3), fit_fast(made, epochs=3, threads=threads))

def test_two_fits_at_once(made):
    got = {}
    def run(k): got[k] = fit_fast(made, epochs=3, threads=2)
    workers = [Thread(target=run, args=(k,)) for k in range(3)]
    for w in workers: w.start()
    for w in workers: w.join()
    assert all(same(got[0], got[k]) for k in range(3))

def test_the_seed_counts_and_rows_may_be_sorted(made):
    assert not same(fit_fast(made, epochs=2), fit_fast(made, epochs=2, seed=1))
    train,valid = made.iloc[:18_000],made.iloc[18_000:]
    valid = valid[valid.movie.isin(train.movie) & valid.user.isin(train.user)]
    by_user = fit_fast(train.sort_values(['user', 'movie']), reg=.05)
    assert abs(mse(by_user, valid) - mse(fit_fast(train, reg=.05), valid)) < .03

def test_held_out_rows_stop_it(made):
    train,valid = made.iloc[:18_000],made.iloc[18_000:]
    done = []
    kwargs = {'reg': .001, 'lr': .3, 'epochs': 40}
    rec = fit_fast(train, valid=valid, progress=done.append, **kwargs)
    assert 2 <= len(done) < 40 and done == [(k+1)/40 for k in range(len(done))]
    known = valid[valid.movie.isin(rec.items) & valid.user.isin(rec.users)]
    assert mse(rec, known) < mse(fit_fast(train, **kwargs), known) - .05
    strangers = pd.concat([valid, valid.head(5).assign(user=10**6)])      # left out, as there's nothing to say of them
    assert same(rec, fit_fast(train, valid=strangers, **kwargs))

def test_a_recommender_like_any_other(made, tmp_path):
    rec = fit_fast(made.rename(columns={'user': 'who', 'movie': 'what', 'rating': 'stars'}), user='who', item='what',
                   rating='stars', epochs=3)
    assert rec.titles[rec.items[0]] == made[made.movie == rec.items[0]].title.iloc[0]
    mine = rec.recommend(rec.users[0])
    assert len(mine) == 10 and not set(mine['item']) & set(made[made.user == rec.users[0]].movie)
    guest = rec.fold_in({rec.items[0]: 5., rec.items[1]: 1.})
    assert len(rec.recommend(guest)) == 10
    rec.save(tmp_path/'model')
    assert same(rec, Recommender.load(tmp_path/'model'))

def test_words_as_ids_and_few_rows():
    t = pd.DataFrame({'user': ['ann', 'bob', 'ann'], 'movie': ['x', 'y', 'y'], 'rating': [5, 1, 3]})
    rec = fit_fast(t, n_factors=3)
    assert rec.users == ['ann', 'bob'] and np.isfinite(rec.predict(['ann', 'bob'], ['x', 'x'])).all()
    one = fit_fast(t.head(1))
    assert abs(one.predict('ann', 'x')[0] - 5) < .01
    same_rating = fit_fast(t.assign(rating=4.))
    assert np.allclose(same_rating.predict(t.user, t.movie), 4, atol=.01)

@pytest.mark.parametrize('wrong,says', [
    ({'n_factors': 0}, 'n_factors must be a whole number'), ({'epochs': 0}, 'epochs'), ({'epochs': 2.5}, 'epochs'),
    ({'threads': 0}, 'threads'), ({'seed': -1}, 'seed'), ({'lr': 0}, 'lr must be above 0'), ({'lr': np.inf}, 'lr'),
    ({'lr': np.nan}, 'lr must be'), ({'reg': -1}, 'reg must be'), ({'reg': np.nan}, 'reg must be'),
    ({'nu': np.inf}, 'nu must be finite'), ({'lr': 1e6}, 'lr must be smaller'), ({'user': 'who'}, "no column 'who'"),
    ({'valid': 3}, 'valid must be a table')])
def test_refuses(made, wrong, says):
    with pytest.raises(ValueError, match=says): fit_fast(made, **{'epochs': 3, **wrong})

def test_refuses_tables(made):
    with pytest.raises(ValueError, match='at least one rating'): fit_fast(made.head(0))
    with pytest.raises(ValueError, match='train must be a table'): fit_fast([1, 2])
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError): fit_fast(made.assign(rating=bad))
    with pytest.raises(ValueError, match='valid must have rows'): fit_fast(made, valid=made.assign(user=-1))

def test_without_numba_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'numba', None)
    monkeypatch.delitem(sys.modules, 'collab_nb.further.speed')
    with pytest.raises(ImportError, match=r"pip install 'collab_nb\[speed\]'"): __import__('collab_nb.further.speed')
