"""Sets against slow loops, the prior against the loss, the recommender and its folder, and that no test row is ever
looked at."""
import copy
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.collab import MSELossFlat,load_learner,set_seed
from fastai.optimizer import OptimWrapper

from collab_nb.bias import DotProductBias
from collab_nb.data import random_split,rating_dls,synth_ratings
from collab_nb.further.sets import (PRIOR,Membership,RatedWhat,SetRecommender,bag_sums,film_tags,fit_predict,
                                    map_learner,paired_gain,rated_by,read_trials,tag_membership,user_days,user_tags)
from collab_nb.loader import Learner
from collab_nb.recommend import Recommender,RecommenderError
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
    assert film_tags(movies) == {1: ['Drama', 'War', 'from 1994'], 2: ['unknown']}
    assert user_days(pd.DataFrame({'user': [7], 'timestamp': [86400]})).tolist() == ['7 on 1970-01-02']

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
    with pytest.raises(ValueError, match='one each for each row'): paired_gain(y, a, b[:-1], users)
    with pytest.raises(ValueError, match='two users'): paired_gain(y, a, b, np.zeros(2000))

def test_trials(tmp_path):
    for fold in range(1, 6):
        tries = read_trials(fold=fold)
        assert all(len(t) == 24 for t in tries.values()) and {'+ who rated it', '+ tags', '+ day'} <= set(tries)
        for t in sum(tries.values(), []): assert math.isfinite(t['rmse']) and set(t['prior']) <= set(PRIOR)
    for text,why in (('{', 'not a list'), ('[]', 'no tries'), ('[1]', 'not a list')):
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
    A,B = rec.of_set(a),rec.of_set(b)
    assert not torch.allclose(A.theta, B.theta) and torch.allclose(A.theta, rec.of_set([*a, 'never heard of']).theta)
    by_hand = rec.base + (rec.members[:6].sum(dim=0)+rec.typical*rec.average) / (6+rec.typical)**.5
    assert torch.allclose(A.theta, by_hand) and torch.equal(A.theta, rec.of_set([*a, a[0]]).theta)
    assert torch.allclose(rec.of_set(a, typical=0).theta, rec.base + rec.members[:6].sum(dim=0)/6**.5)
    assert torch.equal(rec.of_set([], typical=0).theta, rec.base)

def test_fold_in_is_the_minimum(rec):
    stars = np.random.default_rng(0).integers(1, 6, 12).tolist()
    given = dict(zip(rec.items[:12], stars, strict=True))
    theta,start = rec.fold_in(given).theta,rec.of_set(given).theta.double()
    X = torch.cat([rec.item_factors[:12], torch.ones(12, 1)], dim=1).double()
    left = torch.tensor(stars)-rec.item_bias[:12]
    def loss(t): return ((left-X@t)**2).sum() + (rec.ridge*rec.weights*(t-start)**2).sum()
    for _ in range(20): assert loss(theta) <= loss(theta+.01*torch.randn(len(theta), dtype=torch.float64))
    assert rec.recommend(rec.fold_in(given)).item.isin(given).sum() == 0
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match='finite'): rec.fold_in({rec.items[0]: bad})
    with pytest.raises(ValueError, match='no training rating'): rec.fold_in({'nothing': 3})

def theta_of(rec, user):
    "Factors and bias of a user, as one row"
    row = rec.users.index(user)
    return torch.cat([rec.user_factors[row], rec.user_bias[row:row+1]])

def test_update_takes_the_set_in(rec):
    given = dict(zip(rec.items[:8], [5., 1.]*4, strict=True))
    res = rec.update(pd.DataFrame({'user': 9999, 'movie': given.keys(), 'rating': given.values()}))
    assert type(res) is SetRecommender and 9999 not in rec.users
    assert torch.allclose(theta_of(res, 9999), rec.fold_in(given).theta.float(), atol=1e-6)

def test_update_of_a_user_that_training_has_met(rec, table, splits):
    "Their set is taken as it is, without `typical`; a new item says nothing about those who rated it"
    user,train = rec.users[0],table.iloc[splits[0]]
    later = rec.update(pd.DataFrame({'user': [user], 'movie': [7777], 'rating': [4.]}))
    assert len(later.members) == len(rec.members)+1 and (later.members[-1] == 0).all()
    assert len(later.recommend(user, 3)) == 3
    known = train[train.user == user].set_index('movie').rating.to_dict() | {7777: 4.}
    assert torch.allclose(theta_of(later, user), later.fold_in(known, typical=0).theta.float(), atol=1e-6)

def test_saved_and_loaded(rec, learn, tmp_path):
    rec.save(tmp_path/'r')
    again = SetRecommender.load(tmp_path/'r')
    given = {rec.items[0]: 5., rec.items[3]: 1.}
    assert torch.equal(again.fold_in(given).theta, rec.fold_in(given).theta)
    pd.testing.assert_frame_equal(again.recommend(rec.users[0]), rec.recommend(rec.users[0]))
    assert type(Recommender.load(tmp_path/'r')) is Recommender     # without the sets it's a plain one
    rec.save(tmp_path/'r')                                         # over itself
    other = SetRecommender.from_learner(learn, typical=7)
    other.save(tmp_path/'s')
    assert SetRecommender.load(tmp_path/'s').typical == 7

def test_a_save_that_fails_leaves_the_old_folder(rec, tmp_path, monkeypatch):
    rec.save(tmp_path/'r')
    before = {f.name: f.read_bytes() for f in (tmp_path/'r').iterdir()}
    def full(*args): raise OSError('no space left')
    monkeypatch.setattr('collab_nb.further.sets.safetensors_save', full)
    with pytest.raises(OSError, match='no space'): rec.save(tmp_path/'r')
    assert {f.name: f.read_bytes() for f in (tmp_path/'r').iterdir()} == before
    assert len(list(tmp_path.iterdir())) == 1

def test_damaged_folders(rec, tmp_path):
    def saved(name, r=rec):
        r.save(tmp_path/name)
        return tmp_path/name
    later = rec.update(pd.DataFrame({'user': [1], 'movie': rec.items[:1], 'rating': [2.]}))
    one,other = saved('one'),saved('other', later)
    (one/'set.safetensors').write_bytes((other/'set.safetensors').read_bytes())
    with pytest.raises(RecommenderError, match='another recommender'): SetRecommender.load(one)
    (one/'set.safetensors').write_bytes(b'nothing')
    with pytest.raises(RecommenderError, match='holds no tables'): SetRecommender.load(one)
    (one/'set.safetensors').unlink()
    with pytest.raises(RecommenderError, match='incomplete'): SetRecommender.load(one)
    with pytest.raises(RecommenderError, match='oversized'): SetRecommender.load(other, most=10)

def test_refuses_other_models(dls):
    for model,why in ((RatedWhat.from_dls(dls, n_factors=3), 'no prior'),
                      (DotProductBias(dls.n_users, dls.n_items, 3), 'has no sets')):
        plain = Learner(dls, model, loss_func=MSELossFlat())
        with pytest.raises(ValueError, match=why): SetRecommender.from_learner(plain)

def test_without_the_users_sets(dls):
    rec = SetRecommender.from_learner(fit(dls, epochs=1, rated=False))
    assert (rec.members == 0).all() and len(rec.recommend(rec.fold_in({rec.items[0]: 4.}))) == 10
