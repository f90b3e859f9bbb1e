"Draws against what they are draws from, chains on small planted tables, and the sums they are made of."
import numpy as np
import pandas as pd
import pytest
import torch

from collab_nb.data import synth_ratings
from collab_nb.further.sampler import (Pairs,Posterior,Sampler,Stars,Table,blend,blend_weights,draw_rows,gibbs,
                                       interval_coverage,marks,movie_residuals,noise_levels,normal_wishart,r_hat,
                                       set_kernel,star_places,tilt,wishart)

@pytest.fixture(scope='module')
def tables():
    t = synth_ratings(120, 80, 4000, n_factors=3, seed=1)
    truth = t.attrs['truth']
    return t.iloc[:3000].reset_index(drop=True),t.iloc[3000:].reset_index(drop=True),truth

@pytest.fixture(scope='module')
def post(tables): return gibbs(*tables[:2], n_samples=60, burn_in=30, n_factors=5, fitted=True)

def gen(seed=0): return torch.Generator().manual_seed(seed)
def rmse(p, t): return float(np.sqrt(((p-t.rating)**2).mean()))

@pytest.mark.parametrize('alpha', [0., -.5, -.95])
def test_rows_have_the_mean_and_covariance_asked_for(alpha):
    P,b,n = torch.tensor([[3., 1], [1, 2]]),torch.tensor([1., -2]),40_000
    noise = torch.randn(n, 2, generator=gen(1)) @ torch.linalg.cholesky(P.inverse()).T
    old = torch.linalg.solve(P, b) + noise     # as if they had been drawn before: the new ones have to be like them
    mean,x = draw_rows(P.expand(n, 2, 2), b.expand(n, 2), gen(2), old, alpha)
    assert torch.allclose(mean[0], torch.linalg.solve(P, b), atol=1e-5)
    assert torch.allclose(x.mean(0), mean[0], atol=.02)
    assert torch.allclose(x.T.cov(), P.inverse(), atol=.02)
    assert np.corrcoef(x[:,0], old[:,0])[0,1] == pytest.approx(alpha, abs=.03)

def test_rows_refuse():
    P,b = torch.eye(2)[None],torch.zeros(1, 2)
    for alpha in (-1, 1, float('nan')):
        with pytest.raises(ValueError, match='alpha must be'): draw_rows(P, b, gen(), b, alpha)
    with pytest.raises(ValueError, match='old rows'): draw_rows(P, b, gen(), alpha=-.5)

def test_sums_by_hand():
    g = gen()
    rows,cols = torch.tensor([2, 0, 2, 0, 3]),torch.tensor([1, 1, 0, 2, 2])
    w,table = torch.rand(5, generator=g),torch.randn(3, 4, generator=g)
    slow,outer = torch.zeros(5, 4),torch.zeros(5, 4, 4)
    for r,c,x in zip(rows, cols, w, strict=True):
        slow[r] += x*table[c]
        outer[r] += x*torch.outer(table[c], table[c])
    pairs = Pairs(rows, cols, 5, 3)
    assert torch.allclose(pairs.sums(w, table), slow, atol=1e-6)
    assert torch.allclose(pairs.outer_sums(w, table), outer, atol=1e-6)
    assert not pairs.sums(w, table)[[1, 4]].any()

def test_wishart_and_its_normal():
    S = torch.tensor([[1., .3], [.3, 2]]).double()
    g = gen()
    mean = torch.stack([wishart(8, S, g) for _ in range(2000)]).mean(0)
    assert torch.allclose(mean, 8*S.inverse(), atol=.3)
    rows = torch.randn(5000, 2, generator=gen())*torch.tensor([2., .5]) + torch.tensor([3., 0])
    m,L = normal_wishart(rows, gen(1))
    assert torch.allclose(m, torch.tensor([3., 0]).double(), atol=.15)
    assert torch.allclose(L.diagonal(), torch.tensor([.25, 4.]).double(), rtol=.1)

def test_kernels():
    X = marks(torch.tensor([0, 0, 1, 3, 3]), torch.tensor([0, 1, 1, 2, 2]), 5, 3)
    assert torch.allclose(X.norm(dim=1), torch.tensor([1, 1, 0, 1, 0]).double())     # a pair that repeats counts once
    for A in (X, X.T.contiguous()):
        W,s = set_kernel(A)
        assert torch.allclose((W*s)@W.T, (A@A.T).float(), atol=1e-5)

def test_noise_levels():
    a = noise_levels(torch.full((4000,), 400.), torch.full((4000,), 100.), gen())
    assert a.mean() == pytest.approx((4+50)/(4+200), rel=.02)

def test_cuts_stay_in_order_and_z_inside():
    f = torch.randn(3000, generator=gen(), dtype=torch.float64)
    cuts = torch.tensor([-1., 0, 1]).double()
    star = torch.bucketize(f + torch.randn(3000, generator=gen(1), dtype=torch.float64), cuts)
    scale = Stars(star, 4, gen(2), step=.05)
    for _ in range(50): z = scale.draw(f, torch.ones_like(f), tune=True)
    assert (scale.edges.diff() > 0).all()
    assert ((z >= scale.edges[star].float()-1e-4) & (z <= scale.edges[star+1].float()+1e-4)).all()
    assert torch.allclose(scale.edges[1:-1], cuts, atol=.2)
    far = scale.draw(torch.full_like(f, 30.), torch.ones_like(f))     # scores far outside their star's interval
    assert torch.isfinite(far).all()

def test_it_learns(tables, post):
    train,test,truth = tables
    floor = truth.floor(test.user, test.movie)**.5
    assert floor < rmse(post.mean, test) < rmse(train.rating.mean(), test)
    assert rmse(post.mean, test) < 1.1*floor
    assert np.corrcoef(post.mean, truth.predict(test.user, test.movie))[0,1] > .8
    assert rmse(post.fitted, train) < rmse(post.mean, test)
    assert np.allclose(post.probs.sum(1), 1) and np.allclose(post.probs@post.stars, post.mean)
    assert (np.diff(post.cuts) > 0).all()
    assert np.abs(interval_coverage(star_places(post.probs, test.rating))-[.5, .8, .95]).max() < .06

def test_seeds_and_answers(tables):
    train,test,_ = tables
    short = dict(n_samples=5, burn_in=3, n_factors=3)
    a = gibbs(train, test, **short).mean
    assert np.array_equal(a, gibbs(train, test.drop(columns='rating'), **short).mean)
    assert np.array_equal(a, gibbs(train, test.assign(rating=1), **short).mean)
    assert not np.array_equal(a, gibbs(train, test, seed=1, **short).mean)
    assert np.allclose(a[::-1], gibbs(train, test[::-1], **short).mean)

@pytest.mark.parametrize('noise', ['one', 'user', 'both'])
@pytest.mark.parametrize('ordinal', [True, False])
def test_every_kind_runs(tables, noise, ordinal):
    train,test,_ = tables
    p = gibbs(train, test, n_samples=15, burn_in=10, n_factors=3, noise=noise, ordinal=ordinal, sets=noise != 'one')
    assert rmse(p.mean, test) < rmse(train.rating.mean(), test) and np.allclose(p.probs.sum(1), 1)
    assert (p.cuts is None) != ordinal
    assert p.mean.min() >= 1 and p.mean.max() <= 5

@pytest.mark.parametrize('ordinal', [True, False])
def test_user_noise_is_found(ordinal):
    rng = np.random.default_rng(0)
    noise = np.where(np.arange(60) % 2, .3, 1.5)
    t = pd.DataFrame([(u, i) for u in range(60) for i in range(40)], columns=['user', 'movie'])
    score = rng.normal(size=40)[t.movie] + noise[t.user]*rng.normal(size=len(t))
    t['rating'] = 1 + np.searchsorted([-1.5, -.5, .5, 1.5], score)
    post = gibbs(t, t[:1], n_samples=20, burn_in=20, n_factors=2, sets=False, noise='user', ordinal=ordinal)
    found = post.user_noise.to_numpy()
    assert found[1::2].max() < found[::2].min()

CHAIN = dict(n_samples=25, burn_in=15, n_factors=3)

def test_sessions(tables):
    shift = np.random.default_rng(0).normal(0, 1.5, 240)
    def moody(t):
        t = t.assign(day=2*t.user + np.random.default_rng(1).integers(0, 2, len(t)))
        return t.assign(rating=(t.rating + shift[t.day % 240]).round().clip(1, 5))
    train,test = map(moody, tables[:2])
    with_days,without = (gibbs(train, test, session=session, **CHAIN).mean for session in ('day', None))
    assert rmse(with_days, test) < rmse(without, test) - .1

def test_tags_and_strangers(tables):
    "Movies that nobody rated, told apart by their tags; and a user who rated nothing"
    train = tables[0]
    tags = {m: ['good' if m % 2 else 'bad'] for m in range(1, 200)}
    lifted = train.assign(rating=np.where(train.movie % 2, 5, 2) - (train.rating < 3))
    new = pd.DataFrame({'user': [1, 1, 999], 'movie': [101, 102, 1]})
    p = gibbs(lifted, new, item_tags=tags, **CHAIN).mean
    assert p[0] > p[1] + .5 and np.isfinite(p).all()

def test_half_stars_and_names(tables):
    names = {'user': 'u', 'movie': 'i', 'rating': 'r'}
    half,ask = (t.assign(rating=t.rating/2).rename(columns=names) for t in (tables[0][:800], tables[1][:50]))
    p = gibbs(half, ask, n_samples=5, burn_in=5, n_factors=2, user='u', item='i', rating='r')
    assert np.allclose(p.stars, [.5, 1, 1.5, 2, 2.5]) and .5 <= p.mean.min() and p.mean.max() <= 2.5

@pytest.mark.parametrize('kwargs, why', [
    (dict(n_samples=0), 'n_samples must be .* got 0'), (dict(n_factors=1.5), 'n_factors must be .* got 1.5'),
    (dict(noise='item'), 'noise must be'), (dict(user='who'), "no column 'who'"),
    (dict(session='day'), "no column 'day'"), (dict(alpha=-1.), 'alpha must be'),
    (dict(burn_in=-1), 'burn_in must be .* got -1'), (dict(burn_in=1.5), 'burn_in must be .* got 1.5'),
    (dict(burn_in=True), 'burn_in must be .* got True'),
    (dict(item_tags={-1: ['x']}), 'tags must be .*, got none for these ids'),
    (dict(item_tags={10**9: ['x']}), 'tags must be .*, got none for these ids')])
def test_gibbs_refuses(tables, kwargs, why):
    with pytest.raises(ValueError, match=why): gibbs(*tables[:2], **{**dict(n_samples=2, burn_in=1), **kwargs})

@pytest.mark.parametrize('change, why', [
    (lambda t: t[:0], 'no rows'), (lambda t: t.assign(rating=3.), 'nothing to learn'),
    (lambda t: t.assign(rating=np.linspace(1, 5, len(t))), 'different ratings'),
    (lambda t: t.assign(rating=t.rating.where(t.user != 3)), 'NaN')])
def test_gibbs_refuses_ratings(tables, change, why):
    with pytest.raises(ValueError, match=why): gibbs(change(tables[0]), tables[1])

def test_intervals():
    p = Posterior(np.array([[.05, .1, .7, .1, .05], [0, 0, 0, 0, 1.], [.2]*5]), None, np.arange(1., 6))
    assert [list(map(float, v)) for v in p.interval(.5)] == [[3, 5, 2], [3, 5, 4]]
    assert [list(map(float, v)) for v in p.interval(.95)] == [[1, 5, 1], [5, 5, 5]]

def test_places_are_uniform_where_probabilities_are_right():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(5), 20_000)
    y = 1 + (probs.cumsum(1) < rng.random((20_000, 1))).sum(1)
    places = star_places(probs, y)
    assert np.allclose(np.quantile(places, [.1, .5, .9]), [.1, .5, .9], atol=.015)
    assert np.allclose(interval_coverage(places), [.5, .8, .95], atol=.015)
    with pytest.raises(ValueError, match='none of the stars'): star_places(probs, y+1)

def test_places_know_stars_by_value():
    probs,tenths = np.full((3, 3), 1/3),np.array([3.6, 3.7, 3.8])
    places = star_places(probs, tenths, tenths.astype('float32'))
    assert np.array_equal(places, star_places(probs, tenths, tenths))
    assert (np.floor(3*places) == [0, 1, 2]).all()
    for bad in (3.65, np.nan, np.inf):
        with pytest.raises(ValueError, match='none of the stars'): star_places(probs, np.array([bad, 3.7, 3.8]), tenths)

def test_drawn_movies_are_wider_where_nobody_rated(tables):
    train,test,_ = tables
    kept,new = train[train.movie % 3 > 0],test.movie % 3 == 0
    a,b = (gibbs(kept, test, n_samples=60, burn_in=30, n_factors=3, sets=False, alpha=-.8, drawn=drawn)
           for drawn in (False, True))
    def spread(p): return (p.probs@p.stars**2 - (p.probs@p.stars)**2)
    wider = spread(b)-spread(a)
    assert wider[new].mean() > .1 and wider[new].mean() > 3*abs(wider[~new].mean())
    assert np.isclose(rmse(a.mean[~new], test[~new]), rmse(b.mean[~new], test[~new]), atol=.02)

@pytest.mark.parametrize('ordinal, want', [(False, [4., 16, 32]), (True, [2/8**.5/2, 2/8**.5*2, 4/8**.5*2])])
def test_noise_with_a_common_scale(monkeypatch, ordinal, want):
    """Movies' levels get a geometric mean of 1; with stars as numbers the users' levels take up the rest, so that
    a rating's variance is as drawn"""
    drawn = iter([torch.tensor([2., 4]), torch.tensor([2., 8])])
    monkeypatch.setattr('collab_nb.further.sampler.noise_levels', lambda *args, **kwargs: next(drawn))
    u,i = torch.tensor([0, 0, 1]),torch.tensor([0, 1, 1])
    s = Sampler(u, i, torch.tensor([0, 1, 2]), 2, 2, torch.arange(1., 4), n_factors=1, ordinal=ordinal)
    s.z = torch.zeros(3)
    s.n_sweeps = 4     # from the fifth sweep on, noise is drawn with stars on a line, too
    s.sweep()
    assert torch.allclose(s.a_item, torch.tensor([.5, 2]))
    assert torch.allclose(s.a_user[u]*s.a_item[i], torch.tensor(want))

def test_residuals_by_hand():
    train = pd.DataFrame({'user': [1, 1, 2, 2, 3], 'movie': [1, 2, 1, 2, 3]})
    e = np.array([1., 0, 0, 0, 2])
    K = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1.]])     # movies 1 and 2 have the same raters
    solved = np.linalg.solve(K[:2,:2]+2*np.eye(2), e[:2])
    got = movie_residuals(train, e, pd.DataFrame({'user': [1, 1, 9, 3], 'movie': [3, 2, 1, 3]}))
    assert np.allclose(got, [K[2,:2]@solved, K[1,:2]@solved, 0., 2/3])
    with pytest.raises(ValueError, match='one for each'): movie_residuals(train, e[1:], train)

def test_blend(tables):
    train,test,_ = tables
    seen = []
    def good(a, b):
        seen.append((len(a), len(b), 'rating' in b))
        return a.groupby('movie').rating.mean().reindex(b.movie).fillna(a.rating.mean()).to_numpy()
    def bad(a, b): return np.random.default_rng(0).uniform(1, 5, len(b))
    p,w,P = blend(train, test.drop(columns='rating'), [good, bad])
    assert seen == [(2700, 300, False), (3000, 1000, False)] and P.shape == (1000, 2)
    assert abs(w[1]) < .3 < w[0] and 1 <= p.min() and p.max() <= 5
    assert np.allclose(blend_weights(P, test.rating, lam=1e12)[0], .5)
    with pytest.raises(ValueError, match='n must be 1 to'): blend(train, test, [good], n=3000)
    with pytest.raises(ValueError, match='a row for each rating'): blend_weights(P[:5], test.rating)

def test_tilt():
    probs,want = np.random.default_rng(0).dirichlet(np.ones(5), 50),np.linspace(1.1, 4.9, 50)
    q = tilt(probs, want)
    assert np.allclose(q@np.arange(1, 6), want, atol=1e-6) and np.allclose(q.sum(1), 1)
    assert np.allclose(tilt(probs, probs@np.arange(1, 6)), probs, atol=1e-5)
    assert np.isfinite(tilt(probs, np.full(50, 9.))).all()

def test_chain_of_one_side():
    "A table follows rows that are known exactly, and its prior takes on their spread"
    side,rows = Table(400, 2, gen()),torch.randn(400, 2, generator=gen(1))
    for _ in range(20):
        side.draw(1e6*torch.eye(2).expand(400, 2, 2), 1e6*rows)
        side.learn()
    assert torch.allclose(side.rows, rows, atol=.01)
    assert torch.allclose(side.L, torch.eye(2), atol=.35)

def test_sampler_refuses():
    one = torch.tensor([0])
    with pytest.raises(ValueError, match='noise must be'): Sampler(one, one, one, 1, 1, torch.arange(2.), noise='film')

def test_r_hat():
    x = np.random.default_rng(0).normal(size=(2, 1000))
    assert r_hat(x) == pytest.approx(1, abs=.01) and r_hat(x + [[0], [5]]) > 2
    assert r_hat([np.arange(100.)]*2) > 1.5     # they agree, but drift
    with pytest.raises(ValueError, match='the shape'): r_hat([1., 2, 3, 4])
