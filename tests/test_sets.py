"""Sets against slow loops, the prior against the loss, the recommender and its folder, and that no test row is ever
looked at."""
import copy
import hashlib
import json
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.collab import MSELossFlat,load_learner,set_seed
from fastai.optimizer import OptimWrapper
from safetensors.numpy import save

from collab_nb.bias import DotProductBias
from collab_nb.data import random_split,rating_dls,synth_ratings
from collab_nb.further.sets import (PRIOR,Membership,RatedWhat,SetRecommender,bag_sums,movie_tags,fit_predict,
                                    map_learner,paired_gain,rated_by,read_trials,tag_membership,user_days,user_tags)
from collab_nb.loader import Learner
from collab_nb.serving import Recommender,RecommenderError,StarRecommender
from collab_nb.tables import learner_tables

@pytest.fixture(scope='module')
def table():
    df = synth_ratings(120, 80, 4000, n_factors=3, seed=1)
    return df.assign(session=df.user.astype(str) + '-' + (np.arange(len(df)) % 3).astype(str))

@pytest.fixture(scope='module')
def splits(table): return random_split(table, seed=0)

@pytest.fixture(scope='module')
def dls(table, splits): return rating_dls(table, splits=splits, bs=512, device='cpu')

TAGS = {u: [f'age {u%3}', 'all'] for u in range(0, 200, 2)}

def fit(dls, epochs=4, prior=None, **parts):
    set_seed(0, reproducible=True)
    learn = map_learner(dls, RatedWhat.from_dls(dls, n_factors=6, **parts), prior)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs, 3e-2)
    return learn

@pytest.fixture(scope='module')
def learn(dls): return fit(dls, user_tags=TAGS)

# Sets

def test_membership_is_the_loop():
    rng = np.random.default_rng(0)
    rows,cols = rng.integers(0, 9, 40),rng.integers(0, 7, 40)
    m = Membership(rows, cols, 11, 8).double()
    t = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    sets = [sorted(set(cols[rows == r].tolist())) for r in range(11)]                 # a pair that repeats counts once
    slow = torch.stack([t[s].sum(dim=0)/max(len(s), 1)**.5 for s in sets])
    assert torch.allclose(m(t), slow, atol=1e-6) and (m(t)[9:] == 0).all()
    assert torch.autograd.gradcheck(m, t)
    assert all(not b.is_sparse and b.numel() <= 40+11 for b in m.buffers())     # lists, no table of rows x columns
    assert not m.state_dict()

@pytest.mark.parametrize('rows,cols,said', [([5], [0], 'row 5'), ([0], [7], 'column 7'), ([-1], [0], 'row -1')])
def test_pairs_that_are_not_there(rows, cols, said):
    with pytest.raises(ValueError, match=said): Membership(rows, cols, 3, 2)

def test_no_pairs(): assert (Membership([], [], 3, 2)(torch.ones(2, 4)) == torch.zeros(3, 4)).all()

def test_empty_bags():
    sums = bag_sums(torch.ones(2, 1), torch.tensor([0, 1]), torch.tensor([0, 0, 2]))
    assert sums.flatten().tolist() == [0, 2, 0]

def test_sets_come_from_training_rows(table, splits):
    "Other test rows leave the sets and the mean as they were"
    train,valid = splits
    n_pairs = len(table.iloc[train].drop_duplicates(['user', 'movie']))
    got = []
    for v in (valid, valid[:100]):
        d = rating_dls(table, splits=(train, v), bs=512, device='cpu')
        what,who = rated_by(d)
        assert what.members.numel() == who.members.numel() == n_pairs
        got.append((what.members, RatedWhat.from_dls(d).mean))
    assert torch.equal(got[0][0], got[1][0]) and got[0][1] == got[1][1]

def test_other_test_pairs_change_nothing(table, splits):
    "Predictions don't depend on what else is asked: neither on its stars nor on the fact that it's asked"
    train,valid = (table.iloc[s] for s in splits)
    valid = valid[valid.user.isin(train.user) & valid.movie.isin(train.movie)]
    short = dict(epochs=2, n_factors=4, bs=512)
    assert np.allclose(fit_predict(train, valid, **short)[:50], fit_predict(train, valid[:50], **short), atol=1e-5)

def test_fit_predict_does_not_look_at_test_stars(table):
    train,test = table.iloc[::2],table.iloc[1::2]
    kw = dict(epochs=2, bs=512, user_tags=TAGS, session='session')
    a,b = fit_predict(train, test.assign(rating=1.), **kw),fit_predict(train, test.drop(columns='rating'), **kw)
    assert np.array_equal(a, b) and a.dtype == np.float32 and len(a) == len(test)
    assert train.rating.min() <= a.min() and a.max() <= train.rating.max()

def test_fit_predict_knows_the_planted_taste(table):
    train,test = table.iloc[::2],table.iloc[1::2]
    p = fit_predict(train, test, bs=2048, n_factors=6)
    assert ((p-test.rating)**2).mean() < .8*((train.rating.mean()-test.rating)**2).mean()

def test_tags():
    m = tag_membership(['#na#', 1, 2, 3], {1: ['b', 'a'], 3: ['b'], 9: ['c']})
    assert m.names == ['a', 'b']
    assert torch.allclose(m(torch.eye(2)), torch.tensor([[0, 0], [.5, .5], [0, 0], [0, 1]]).sqrt())
    with pytest.raises(ValueError, match='tags must be a dict .* got none for these ids'):
        tag_membership([1], {2: ['a']})

def test_tags_of_movielens():
    users = pd.DataFrame({'user': [1, 2], 'age': [17, 56], 'gender': ['M', 'F'], 'occupation': ['writer', 'other']})
    assert user_tags(users) == {1: ['under 18', 'M', 'writer'], 2: ['56 and older', 'F', 'other']}
    movies = pd.DataFrame({'movie': [1, 2], 'year': pd.array([1994, None], dtype='Int64'),
                           'genres': ['Drama|War', 'unknown']})
    assert movie_tags(movies) == {1: ['Drama', 'War', 'from 1994'], 2: ['unknown']}

def test_days():
    def days(*times): return user_days(pd.DataFrame({'user': 7, 'timestamp': times})).tolist()
    assert days(86400, 0.) == ['7 on 1970-01-02', '7 on 1970-01-01'] and days(4_102_444_799) == ['7 on 2099-12-31']
    assert days(pd.Timestamp('2020-01-02')) == ['7 on 2020-01-02']
    for bad in (1_700_000_000_000, -1, '881250949', '2023-9-30', math.nan, math.inf):
        with pytest.raises(ValueError, match="times must be|column 'timestamp'"): days(bad)

# The model and its prior

def test_model_by_hand(table, splits):
    d = rating_dls(table, splits=splits, bs=512, session='session', device='cpu')
    model = RatedWhat.from_dls(d, user_tags=TAGS, n_factors=3)
    for p in model.parameters(): torch.nn.init.normal_(p, std=.3)
    def row(side, r):
        "Factors and bias of one row: its own, plus what each membership adds"
        factors,bias = side.own.weight[r],side.own_bias.weight[r]
        for k,m in side.memberships.items():
            factors = factors + m(side.factors[k].weight)[r]
            bias = bias + m(side.biases[k].weight)[r]
        return factors,bias
    x = d.train.x[:6]
    want = []
    for u,i,s in x.tolist():
        (P,b),(Q,c) = row(model.users, u),row(model.items, i)
        want.append(model.mean + b + c + model.session_bias.weight[s] + P@Q)
    want = torch.cat(want)
    assert torch.allclose(model.train()(x), want, atol=1e-5)
    assert model.eval()(x).min() >= 1 and model(x).max() <= 5
    without = want-model.session_bias(x[:,2]).squeeze(1)
    assert torch.allclose(model.train()(x[:,:2]), without, atol=1e-5)     # codes without a session
    assert sum(len(t) for t in model.tables().values()) == len(list(model.parameters()))
    assert set(model.users.memberships) == {'rated', 'tags'} and set(model.items.memberships) == {'raters'}

def test_its_rows_as_tables(learn, dls):
    "Factors, biases and mean out of `factor_tables` give the model's predictions"
    t = learner_tables(learn, need=('user_factors', 'item_factors', 'user_bias', 'item_bias'))
    u,i = dls.valid.x[:50].T
    with torch.no_grad(): want = learn.model.train()(dls.valid.x[:50])
    got = (t.user_factors[u]*t.item_factors[i]).sum(1) + t.user_bias[u] + t.item_bias[i]
    assert torch.allclose(got, want, atol=1e-5)

def one_step(table, prior, lr, **kwargs):
    "A step on all rows at once: the learner; for each table its kind, its gradient with the prior, and how it moved"
    d = rating_dls(table, splits=(np.arange(len(table)), []), bs=len(table), device='cpu')
    learn = map_learner(d, RatedWhat.from_dls(d, n_factors=6, user_tags=TAGS), prior, **kwargs)
    tables = [(k, t) for k,ts in learn.model.tables().items() for t in ts]
    set_seed(0)
    for _,t in tables: torch.nn.init.normal_(t, std=.1)
    before = [t.detach().clone() for _,t in tables]
    squares = ((learn.model.train()(d.train.x)-d.train.y)**2).sum()
    slopes = torch.autograd.grad(squares, [t for _,t in tables])
    with learn.no_bar(), learn.no_logging(): learn.fit(1, lr)
    return learn,[(k, g + 2*learn.prior[k]*old, t.detach()-old)
                  for (k, t),old,g in zip(tables, before, slopes, strict=True)]

@pytest.mark.parametrize('prior', [None, {'own': 5., 'rated': 200., 'bias': 60.}])
def test_each_kind_has_its_prior(table, prior):
    "The gradient is that of squared error plus prior, kind by kind; Adam's first step is its sign"
    sgd,steps = one_step(table, prior, 10., opt_func=partial(OptimWrapper, opt=torch.optim.SGD))
    for k,g,step in steps: assert torch.allclose(step, -10*g/len(table), rtol=1e-3, atol=1e-6), k
    adam,steps = one_step(table, prior, 1e-3)
    for k,g,step in steps:
        clear = g.abs() > 1e-2
        assert clear.float().mean() > .95
        assert torch.allclose(step[clear], -1e-3*g.sign()[clear], rtol=1e-2), k
    for learn in (sgd, adam): assert learn.prior == {**{k: PRIOR[k] for k in learn.model.tables()}, **(prior or {})}

@pytest.mark.parametrize('prior, why', [({'own': 0}, 'above 0'), ({'bias': -1.}, 'above 0'),
                                        ({'extra': 1.}, "'extra', but the model has no such table")])
def test_map_learner_refuses(dls, prior, why):
    with pytest.raises(ValueError, match=why): map_learner(dls, RatedWhat.from_dls(dls), prior)

def test_a_new_kind_needs_a_prior(dls):
    odd = RatedWhat(dls.n_users, dls.n_items, users={'shops': Membership([1], [0], dls.n_users, 2)})
    with pytest.raises(ValueError, match="no prior for tables of the kind 'shops'"): map_learner(dls, odd)
    map_learner(dls, odd, {'shops': 5.})

@pytest.mark.filterwarnings('ignore:load_learner:UserWarning')
def test_copied_and_exported(learn, tmp_path):
    x = learn.dls.valid.x[:50]
    with torch.no_grad():
        want = learn.model.eval()(x)
        assert torch.equal(copy.deepcopy(learn.model)(x), want)
        learn.path = tmp_path
        learn.export('m.pkl')
        assert torch.equal(load_learner(tmp_path/'m.pkl').model.eval()(x), want)

# The third column

def test_sessions(table, splits):
    d = rating_dls(table, splits=splits, bs=32, session='session', device='cpu')
    x,y = d.one_batch()
    assert x.shape == (32, 3) and d.session == 'session' and d.n_sessions == table.session.nunique()+1
    rows = table.head(4)
    assert d.test_dl(rows).x[:,2].tolist() == [d.classes['session'].o2i[s] for s in rows.session]
    for unknown in (rows.assign(session='never seen'), rows.drop(columns='session')):
        assert d.test_dl(unknown).x[:,2].tolist() == [0]*4
    assert rating_dls(table, bs=32).one_batch()[0].shape == (32, 2)
    with pytest.raises(ValueError, match='a column of its own'): rating_dls(table, session='user')
    with pytest.raises(ValueError, match="no column 'day'"): rating_dls(table, session='day')
    with pytest.raises(ValueError, match='NaN'): rating_dls(table.assign(session=None), session='session')

# Choosing and judging

def test_paired_gain():
    rng = np.random.default_rng(0)
    users,y = rng.integers(0, 50, 2000),rng.normal(size=2000)
    a = y+rng.normal(size=2000)+rng.normal(size=50)[users]
    b = y+rng.normal(size=2000)
    rmse = lambda p, r=slice(None): ((p[r]-y[r])**2).mean()**.5
    gain,se = paired_gain(y, a, b, users)
    assert gain == pytest.approx(rmse(a)-rmse(b))
    assert paired_gain(y, b, a, users) == (pytest.approx(-gain), pytest.approx(se))
    boot = []
    for _ in range(300):
        r = np.concatenate([np.flatnonzero(users == u) for u in rng.integers(0, 50, 50)])
        boot.append(rmse(a, r)-rmse(b, r))
    assert se == pytest.approx(np.std(boot), rel=.2)
    assert paired_gain(y, a, a, users) == (0, 0)
    assert paired_gain(y, a, y, users)[0] == pytest.approx(rmse(a))
    with pytest.raises(ValueError, match='one value for each row'): paired_gain(y, a, b[:-1], users)
    with pytest.raises(ValueError, match='two users'): paired_gain(y, a, b, np.zeros(2000))

def test_trials(tmp_path):
    for fold in range(1, 6):
        tries = read_trials(fold=fold)
        assert all(len(t) == 24 for t in tries.values()) and {'+ who rated it', '+ tags', '+ day'} <= set(tries)
        for t in sum(tries.values(), []): assert math.isfinite(t['rmse']) and set(t['prior']) <= set(PRIOR)
    for text,why in (('{', 'not a list'), ('[]', 'no trials'), ('[1]', 'not a list')):
        (tmp_path/'t.json').write_text(text)
        with pytest.raises(ValueError, match=why): read_trials(tmp_path/'t.json')

# The recommender

@pytest.fixture(scope='module')
def rec(learn): return SetRecommender.from_learner(learn)

def test_its_scores_are_the_models(rec, learn):
    x,d = learn.dls.train.x[:200],learn.dls
    with torch.no_grad(): want = learn.model.train()(x).numpy()
    users,items = ([d.classes[c][v] for v in x[:,k].tolist()] for k,c in enumerate(('user', 'movie')))
    got = rec.predict(users, items)
    assert np.allclose(got, want, atol=1e-4)

def test_the_set_counts_without_stars(rec):
    a,b = rec.items[:6],rec.items[6:12]
    A,B = rec.of_set(a).vector,rec.of_set(b).vector
    assert not np.allclose(A, B) and np.array_equal(A, rec.of_set([*a, 'never heard of']).vector)
    by_hand = rec.base + (rec.members[:6].sum(axis=0)+rec.typical*rec.average) / (6+rec.typical)**.5
    assert np.allclose(A, by_hand, atol=1e-6) and np.array_equal(A, rec.of_set([*a, a[0]]).vector)
    assert np.allclose(rec.of_set(a, typical=0).vector, rec.base + rec.members[:6].sum(axis=0)/6**.5, atol=1e-6)
    assert np.array_equal(rec.of_set([], typical=0).vector, rec.base)
    assert not rec.recommend(rec.of_set(a), k=80).item.isin(a).any()
    with pytest.raises(ValueError, match='by a set alone'): rec.explain(rec.of_set(a), b[0])

def test_fold_in_is_the_minimum(rec):
    rng = np.random.default_rng(0)
    stars = rng.integers(1, 6, 12)
    given = dict(zip(rec.items[:12], stars.tolist(), strict=True))
    for typical in (None, 0, 7.):
        theta,start = rec.fold_in(given, typical=typical).vector,rec.of_set(given, typical).vector
        X = np.concatenate([rec.item_factors[:12], np.ones((12, 1))], axis=1)
        own = np.linalg.solve(X.T@X + np.diag(rec.ridge*rec.ridge_weights), X.T@(stars - rec.item_bias[:12] - X@start))
        assert np.allclose(theta, start+own, atol=1e-5)
    assert rec.recommend(rec.fold_in(given)).item.isin(given).sum() == 0
    assert rec.fold_in(given, 'me').user == 'me'
    many = rec.fold_in_many(pd.DataFrame({'user': 9999, 'movie': given.keys(), 'rating': given.values()}))
    assert np.array_equal(many[0].vector, rec.fold_in(given).vector)
    for bad,why in ((math.nan, 'NaN'), (math.inf, 'finite')):
        with pytest.raises(ValueError, match=why): rec.fold_in({rec.items[0]: bad})
    with pytest.raises(ValueError, match='no training rating'): rec.fold_in({'nothing': 3})
    for call in (rec.fold_in, rec.of_set):
        for bad in (-1, math.nan, math.inf):
            with pytest.raises(ValueError, match='typical must be 0 or more'): call(given, typical=bad)

def vector_of(rec, user):
    "Factors and bias of a user, as one row"
    row = rec.users.index(user)
    return np.append(rec.user_factors[row], rec.user_bias[row])

def test_update_takes_the_set_in(rec):
    given = dict(zip(rec.items[:8], [5., 1.]*4, strict=True))
    res = rec.update(pd.DataFrame({'user': 9999, 'movie': given.keys(), 'rating': given.values()}))
    assert type(res) is SetRecommender and 9999 not in rec.users
    assert np.allclose(vector_of(res, 9999), rec.fold_in(given).vector, atol=1e-6)
    for user in (9999, res.fold_in(given)):     # a user from `update` has told a part of their set, as a new one has
        pd.testing.assert_frame_equal(res.explain(user, rec.items[20]), rec.explain(rec.fold_in(given), rec.items[20]))
    assert 9999 not in res.forget(9999).users

def test_update_of_a_user_that_training_has_met(rec, table, splits):
    "Their set is taken as it is, without `typical`; a new item says nothing about those who rated it"
    user,train = rec.users[0],table.iloc[splits[0]]
    later = rec.update(pd.DataFrame({'user': [user], 'movie': [7777], 'rating': [4.]}))
    assert len(later.members) == len(rec.members)+1 and (later.members[-1] == 0).all()
    assert len(later.recommend(user, 3)) == 3
    known = train[train.user == user].set_index('movie').rating.to_dict() | {7777: 4.}
    assert np.allclose(vector_of(later, user), later.fold_in(known, typical=0).vector, atol=1e-6)
    again = later.update(pd.DataFrame({'user': [user, rec.users[1]], 'movie': [7777, 7777], 'rating': [1., 2.]}))
    assert len(again.members) == len(again.items) == len(later.items)

def test_update_folds_in_once(rec, monkeypatch):
    "Everybody who rated, in one call, and each of them once"
    name = '_fold_users'
    calls,fold = [],getattr(SetRecommender, name)
    def counted(self, lists, guests):
        calls.append((len(lists), list(guests)))
        return fold(self, lists, guests)
    monkeypatch.setattr(SetRecommender, name, counted)
    users = [9999, rec.users[2], 9999, 9998]
    rec.update(pd.DataFrame({'user': users, 'movie': rec.items[:4], 'rating': [1., 2., 3., 4.]}))
    assert calls == [(3, [False, True, True])]

@pytest.mark.parametrize('guest', [False, True])
def test_explains_by_folding_in_without_each_rating(rec, guest):
    user,item,typical = rec.users[4],rec.items[9],None if guest else 0
    cols,stars = rec.known.row(4)
    given = {rec.items[c]: s for c,s in zip(cols, stars.tolist()) if c != 9}
    def score(ratings): return rec.scores([rec.fold_in(ratings, typical=typical)])[0,9]
    slow = {i: score(given)-score({j: s for j,s in given.items() if j != i}) for i in given}
    got = rec.explain(rec.fold_in(given) if guest else user, item, k=len(given)).set_index('item')
    assert got.rating.to_dict() == given
    assert np.allclose(got.speaks, pd.Series(slow)[got.index], atol=5e-6) and got.speaks.abs().is_monotonic_decreasing
    assert len(rec.explain(rec.fold_in({item: 5.}), item)) == 0

def same(a, b):
    "Do two recommenders answer alike, to the last digit?"
    given = {a.items[0]: 5., a.items[3]: 1.}
    for call in (lambda r: r.scores(r.users), lambda r: r.fold_in(given).vector, lambda r: r.of_set(given).vector,
                 lambda r: r.explain(r.users[0], r.items[5]).speaks):
        np.testing.assert_array_equal(call(a), call(b))
    pd.testing.assert_frame_equal(a.recommend(a.users[0]), b.recommend(b.users[0]))

def test_saved_and_loaded(rec, learn, tmp_path):
    rec.save(tmp_path/'r', metrics={'RMSE': .9}, about='Planted.')
    for cls in (SetRecommender, StarRecommender, Recommender):
        again = cls.load(tmp_path/'r')
        assert type(again) is SetRecommender and again.ridge_weights.dtype == np.float64
        same(again, rec)
    assert 'sets' in (tmp_path/'r'/'README.md').read_text()
    class Mine(SetRecommender): "As a notebook defines it"
    assert type(Mine.load(tmp_path/'r')) is Mine
    rec.save(tmp_path/'r')                                         # over itself
    other = SetRecommender.from_learner(learn, typical=7, ridge=3.)
    later = other.update(pd.DataFrame({'user': [9999, rec.users[0]], 'movie': [7777, 7777], 'rating': [2., 4.]}))
    later.save(tmp_path/'s')
    again = Recommender.load(tmp_path/'s')
    assert again.typical == 7 and again.ridge == 3 and again.trained == rec.trained
    same(again, later)
    more = pd.DataFrame({'user': [9999, rec.users[1]], 'movie': [rec.items[0], 7777], 'rating': [5., 1.]})
    same(again.update(more), later.update(more))

def test_a_plain_folder_holds_no_sets(rec, tmp_path):
    plain = StarRecommender(rec.user_factors, rec.item_factors, rec.users, rec.items)
    plain.save(tmp_path/'plain')
    with pytest.raises(RecommenderError, match='foreign.*a StarRecommender, not a SetRecommender'):
        SetRecommender.load(tmp_path/'plain')
    folder = version_1(rec, tmp_path/'old')
    (folder/'set.safetensors').unlink()
    with pytest.raises(RecommenderError, match='foreign'): SetRecommender.load(folder)
    assert type(Recommender.load(folder)) is StarRecommender

def version_1(rec, folder):
    "A folder as version 0.1 wrote it: recommender.json, tables.safetensors, set.safetensors"
    rows = np.repeat(np.arange(len(rec.users)), np.diff(rec.known.packed().starts))
    tables = {'user_factors': rec.user_factors, 'item_factors': rec.item_factors,
              'user_bias': rec.user_bias, 'item_bias': rec.item_bias,
              'seen': np.stack([rows, rec.known.packed().items.astype(np.int64)], axis=1),
              'seen_ratings': rec.known.packed().values.astype(np.float64)}
    data = save({k: np.ascontiguousarray(t) for k,t in tables.items()})
    about = {'format': 'collab_nb.recommender', 'version': 1, 'users': rec.users, 'items': rec.items,
             'titles': [rec.titles[i] for i in rec.items], 'y_range': None, 'ridge': rec.ridge,
             'trained': list(rec.trained), 'size': len(data)}
    about['sha256'] = hashlib.sha256(json.dumps(about, sort_keys=True).encode() + data).hexdigest()
    folder.mkdir()
    (folder/'recommender.json').write_text(json.dumps(about))
    (folder/'tables.safetensors').write_bytes(data)
    of = hashlib.sha256((folder/'recommender.json').read_bytes()).digest()
    (folder/'set.safetensors').write_bytes(save({
        'members': rec.members, 'base': rec.base, 'average': rec.average, 'weights': rec.ridge_weights,
        'typical': np.array([rec.typical]), 'of': np.frombuffer(of, dtype=np.uint8)}))
    return folder

def test_folders_of_version_1(rec, tmp_path):
    again = Recommender.load(version_1(rec, tmp_path/'old'))
    assert type(again) is SetRecommender
    same(again, rec)
    again.save(tmp_path/'new')
    same(SetRecommender.load(tmp_path/'new'), rec)
    later = rec.update(pd.DataFrame({'user': [1], 'movie': rec.items[:1], 'rating': [2.]}))
    set_of_later = (version_1(later, tmp_path/'later')/'set.safetensors').read_bytes()
    damaged = tmp_path/'old'/'set.safetensors'
    for content,why in ((set_of_later, 'another recommender'), (b'nothing', 'tampered with')):
        damaged.write_bytes(content)
        with pytest.raises(RecommenderError, match=why): SetRecommender.load(tmp_path/'old')
    with pytest.raises(RecommenderError, match='oversized'): SetRecommender.load(tmp_path/'later', most=10)

def parts(rec, **changes):
    "What a SetRecommender is made of, some of it changed"
    given = {'user_factors': rec.user_factors, 'item_factors': rec.item_factors, 'members': rec.members,
             'base': rec.base, 'average': rec.average, 'ridge_weights': rec.ridge_weights}
    return {**given, **changes}

def test_refuses_tables_that_no_training_gives(rec):
    SetRecommender(**parts(rec))
    for name in ('members', 'base', 'average', 'ridge_weights'):
        table = getattr(rec, name)
        for bad,why in ((np.full_like(table, np.nan), 'finite'), (np.full_like(table, np.inf), 'finite'),
                        (table[:-1], 'must have the shape')):
            with pytest.raises(ValueError, match=why): SetRecommender(**parts(rec, **{name: bad}))
    with pytest.raises(ValueError, match='ridge_weights must be above 0'):
        SetRecommender(**parts(rec, ridge_weights=0*rec.ridge_weights))
    with pytest.raises(ValueError, match='y_range must be None'): SetRecommender(**parts(rec, y_range=(1, 5)))
    for bad in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match='typical must be'): SetRecommender(**parts(rec, typical=bad))

def test_such_tables_in_a_folder(rec, tmp_path):
    odd = copy.copy(rec)
    odd.members = np.full_like(rec.members, np.nan)
    odd.save(tmp_path/'odd')
    with pytest.raises(RecommenderError, match='members must be finite'): Recommender.load(tmp_path/'odd')
    odd = copy.copy(rec)
    odd.typical = math.nan
    odd.save(tmp_path/'odd')
    with pytest.raises(RecommenderError, match='typical must be'): Recommender.load(tmp_path/'odd')

@pytest.mark.parametrize('feedback', ['stars', 'implicit'])
def test_factors_say_nothing_about_sets(feedback):
    with pytest.raises(ValueError, match='not a SetRecommender'):
        SetRecommender.from_factors(np.eye(2), np.eye(2), feedback=feedback)

def test_refuses_other_models(dls):
    for model,why in ((RatedWhat.from_dls(dls, n_factors=3), 'no prior'),
                      (DotProductBias(dls.n_users, dls.n_items, 3), 'has no sets')):
        plain = Learner(dls, model, loss_func=MSELossFlat())
        with pytest.raises(ValueError, match=why): SetRecommender.from_learner(plain)

def test_without_the_users_sets(dls):
    rec = SetRecommender.from_learner(fit(dls, epochs=1, rated=False))
    assert (rec.members == 0).all() and len(rec.recommend(rec.fold_in({rec.items[0]: 4.}))) == 10
