"The recommender against slow loops, its folder damaged in every way, and new ratings without training."
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.collab import CollabDataLoaders,MSELossFlat,collab_learner,set_seed

from collab_nb.bias import DotProductBias
from collab_nb.data import rating_dls,synth_ratings
from collab_nb.dot_product import DotProduct
from collab_nb.evaluate import evaluate
from collab_nb.loader import Learner
from collab_nb.recommend import FoldedUser,Recommender,RecommenderError
from collab_nb.serving import fold_in,top

def frame(user, movie, rating, **more): return pd.DataFrame({'user': user, 'movie': movie, 'rating': rating, **more})

@pytest.fixture(scope='module')
def table():
    df = synth_ratings(60, 40, 1200, n_factors=2, noise=.3, seed=0)
    return frame([f'u{u}' for u in df.user], df.movie.to_numpy(), df.rating.to_numpy())

def fit(dls, model):
    learn = Learner(dls, model, loss_func=MSELossFlat())
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(3, 1e-2)
    return learn

@pytest.fixture(scope='module')
def learn(table):
    set_seed(0)
    dls = rating_dls(table, splits=(np.arange(1000), np.arange(1000, 1200)), bs=64)
    return fit(dls, DotProductBias(dls.n_users, dls.n_items, 4))

@pytest.fixture
def rec(learn): return Recommender.from_learner(learn, titles={1: 'One'})

# Lists

def test_scores_are_the_models(rec, learn):
    users,items = (learn.dls.classes[c].o2i for c in ('user', 'movie'))
    codes = torch.tensor([[users[u], items[i]] for u in rec.users[:3] for i in rec.items])
    with torch.no_grad(): slow = learn.model(codes).reshape(3, -1)
    assert np.allclose(rec.scores(rec.users[:3]), slow, atol=1e-5)
    preds = rec.predict(rec.users[:3], rec.items[:3])
    assert np.allclose(preds, slow.diagonal(), atol=1e-5) and preds.dtype == np.float32

@pytest.mark.parametrize('k', [1, 5, 1000])
def test_lists_against_a_slow_loop(rec, table, k):
    user = rec.users[7]
    rated = set(table[:1000][table.user[:1000] == user].movie)
    scores = zip(rec.scores([user])[0].tolist(), rec.items, strict=True)
    slow = sorted(((s, i) for s,i in scores if i not in rated), key=lambda o: -o[0])[:k]
    got = rec.recommend(user, k=k)
    assert got.item.tolist() == [i for _,i in slow] and np.allclose(got.score, [s for s,_ in slow])
    assert list(got.columns) == ['item', 'title', 'score']

def test_titles(rec): assert rec.titles[1] == 'One' and rec.titles[2] == '2'

def test_blocks_change_nothing(rec, monkeypatch):
    whole = rec.recommend_all(k=5)
    monkeypatch.setattr(type(rec), '_block', lambda self: 7)
    pd.testing.assert_frame_equal(whole, rec.recommend_all(k=5), atol=1e-5)
    pd.testing.assert_frame_equal(whole, rec.recommend(rec.users, k=5).drop(columns='title'), atol=1e-5)
    for u in (rec.users[0], rec.users[-1]):
        assert whole[whole.user == u].item.tolist() == rec.recommend(u, k=5).item.tolist()

def test_among_and_without(rec):
    u = rec.users[0]
    free = rec.recommend(u, k=100).item.tolist()
    assert rec.recommend(u, among=free[3:6]).item.tolist() == free[3:6]
    assert rec.recommend(u, k=2, without=free[:1]).item.tolist() == free[1:3]
    assert rec.recommend(u, among=[]).empty

def test_similar_is_cosine(rec):
    f = torch.tensor(rec.item_factors)
    def cosine(j): return (torch.dot(f[0], f[j])/(f[0].norm()*f[j].norm())).item()
    slow = sorted(((cosine(j), rec.items[j]) for j in range(1, len(f))), reverse=True)[:5]
    got = rec.similar(rec.items[0], k=5)
    assert got.item.tolist() == [i for _,i in slow] and np.allclose(got.score, [s for s,_ in slow], atol=1e-6)

@pytest.mark.parametrize('call', [
    lambda r: r.recommend('nobody'), lambda r: r.similar(-1), lambda r: r.predict([r.users[0]], [-1]),
    lambda r: r.recommend(r.users[0], among=[-1]), lambda r: r.recommend(r.users[0], without=[-1]),
    lambda r: r.fold_in({-1: 3}), lambda r: r.explain(r.users[0], -1)])
def test_unknown_ids_are_named(rec, call):
    with pytest.raises(ValueError, match="'nobody'|-1"): call(rec)

def test_untrained_rows_are_left_out():
    df = pd.DataFrame({'user': [1, 1, 2, 3], 'movie': [5, 6, 5, 7], 'rating': [1., 2., 3., 4.]})
    dls = rating_dls(df, splits=([0, 1, 2], [3]), bs=2)
    model = DotProduct(dls.n_users, dls.n_items, 2)
    rec = Recommender.from_learner(Learner(dls, model, loss_func=MSELossFlat()))
    assert (rec.users, rec.items) == ([1, 2], [5, 6])
    with pytest.raises(ValueError, match='item 7 has no training rating'): rec.predict([1], [7])

@pytest.mark.parametrize('k', [1, 3, 10, 70])
def test_top_against_a_sort(k):
    scores = np.random.default_rng(k).normal(size=(4, 64)).round(1)     # there are ties
    scores[1,5:] = -np.inf
    scores[2] = 0.
    rows,cols = top(scores, k)
    for r in range(4):
        most = min(k, 5) if r == 1 else k
        assert cols[rows == r].tolist() == np.argsort(-scores[r], kind='stable')[:most].tolist()

@pytest.mark.parametrize('kind', ['dot product', 'collab_learner', "fastai's loader"])
def test_from_other_learners(table, kind):
    set_seed(0)
    if kind == "fastai's loader": dls = CollabDataLoaders.from_df(table.copy(), item_name='movie', bs=64, seed=0)
    else: dls = rating_dls(table, splits=(np.arange(1000), np.arange(1000, 1200)), bs=64)
    sizes = [len(c) for c in dls.classes.values()]
    if kind == 'collab_learner': learn = collab_learner(dls, n_factors=3, y_range=(0, 6))
    else: learn = Learner(dls, DotProduct(*sizes, 3), loss_func=MSELossFlat())
    rec = Recommender.from_learner(learn)
    u,i = rec.users[3],rec.items[4]
    codes = torch.tensor([[dls.classes['user'].o2i[u], dls.classes['movie'].o2i[i]]])
    with torch.no_grad(): assert rec.predict([u], [i])[0] == pytest.approx(learn.model(codes).item(), abs=1e-5)

def test_a_model_without_factors_is_refused(learn):
    class Fake: dls,model = learn.dls,torch.nn.Linear(2, 1)
    with pytest.raises(ValueError, match="must have a table 'user_factors', .*, got a Linear"):
        Recommender.from_learner(Fake)

def test_from_factors():
    rec = Recommender.from_factors(torch.eye(2), torch.tensor([[1., 0.], [0., 2.], [1., 1.]]))
    assert rec.users == [0, 1] and rec.recommend(1, k=2).item.tolist() == [1, 2]
    for users,why in (([1, 2, 3], 'with 3 rows'), ([1, 1], 'twice')):
        with pytest.raises(ValueError, match=why): Recommender.from_factors(torch.eye(2), torch.eye(2), users=users)

# Folding in

@pytest.mark.parametrize('n', [0, 1, 5, 7, 40])
@pytest.mark.parametrize('y_range', [None, (0., 5.5)])
def test_fold_in_is_a_minimum(n, y_range):
    g = torch.Generator().manual_seed(n)
    V,b = torch.randn(50, 5, generator=g).double(),torch.randn(50, generator=g).double()/3
    center = torch.randn(6, generator=g).double()/3
    lists = [(np.arange(n), (1 + 4*torch.rand(n, generator=g).double()).numpy()), (np.arange(9), np.full(9, 2.))]
    both = fold_in(torch.cat([V, b[:,None]], dim=1).numpy(), lists, 2., center.numpy(), y_range)
    for (rows,stars),found in zip(lists, both, strict=True):
        theta = torch.tensor(found, requires_grad=True)
        z = b[rows] + V[rows]@theta[:-1] + theta[-1]
        preds = z if y_range is None else 5.5*torch.sigmoid(z)
        (((torch.tensor(stars)-preds)**2).sum() + 2*((theta-center)**2).sum()).backward()
        assert theta.grad.abs().max() < 1e-3
        if len(rows) == 0: assert np.allclose(found, center)

@pytest.mark.parametrize('stars, message', [(99., 'between'), (-1., 'between'), (np.nan, 'NaN'), (np.inf, 'finite')])
def test_fold_in_refuses(rec, stars, message):
    with pytest.raises(ValueError, match=message): rec.fold_in({rec.items[0]: stars})

def test_a_rating_on_the_edge_of_the_range_is_finite():
    assert np.isfinite(fold_in(np.ones((1, 3)), [(np.array([0]), np.array([5.]))], .1, np.zeros(3), (1, 5))).all()

def test_folded_user_serves_as_a_user(rec):
    given = {rec.items[0]: 5, np.int64(rec.items[1]): 1.}
    me = rec.fold_in(pd.Series(given))
    assert isinstance(me, FoldedUser) and me.ratings == {rec.items[0]: 5., rec.items[1]: 1.}
    assert not set(rec.recommend(me, k=100).item) & set(me.ratings)
    both = rec.predict(me, rec.items[:2])
    assert both[0] - rec.predict(rec.fold_in({}), rec.items[:1])[0] > 0 and both.shape == (2,)

def test_explain_is_what_leaving_out_does(rec):
    given = dict(zip(rec.items[:6], [5, 1, 4, 2, 5, 3], strict=True))
    target,gone = rec.items[10],rec.items[1]
    told = rec.explain(rec.fold_in(given), target, k=6).set_index('item').speaks
    whole,without = rec.fold_in(given),rec.fold_in({i: s for i,s in given.items() if i != gone})
    falls = rec.predict(whole, [target])[0] - rec.predict(without, [target])[0]
    assert told[gone] == pytest.approx(falls, rel=.05)     # one Newton step behind a sigmoid
    assert list(told.abs()) == sorted(told.abs(), reverse=True)

# New ratings

def test_update(rec):
    old = {u: rec.recommend(u, k=3).item.tolist() for u in rec.users[:2]}
    news = frame(['new', 'new', rec.users[3], rec.users[4]], [rec.items[0], 999, 999, 999], [5, 4, 5, 4.],
                 title=['One', 'Film', 'Film', 'Film'])
    later = rec.update(news)
    assert 'new' in later.users and 999 in later.items and later.titles[999] == 'Film'
    assert 'new' not in rec.users and 999 not in rec.items
    assert not {rec.items[0], 999} & set(later.recommend('new', k=100).item)
    assert np.array_equal(later.user_factors[:3], rec.user_factors[:3])
    assert not np.array_equal(later.user_factors[3], rec.user_factors[3])
    assert {u: rec.recommend(u, k=3).item.tolist() for u in rec.users[:2]} == old
    again = later.update(news.assign(rating=1.))
    assert not np.array_equal(again.item_factors[-1], later.item_factors[-1]) and again.trained == rec.trained
    kept = again.explain('new', rec.items[1]).set_index('item').rating.to_dict()
    assert kept == {rec.items[0]: 1., 999: 1.}
    assert again.predict(['new'], [rec.items[0]]) < later.predict(['new'], [rec.items[0]])

def test_update_refuses(rec):
    nameless = pd.DataFrame({'user': [1], 999: [1], 'rating': [1.]})
    with pytest.raises(ValueError, match="no column 'movie'"): rec.update(nameless)
    for bad,why in ((np.nan, 'NaN'), (9., 'must lie between'), (np.inf, 'finite')):
        with pytest.raises(ValueError, match=why): rec.update(frame(['a'], [1], [bad]))

def test_update_refuses_ids_of_another_type(rec):
    with pytest.raises(ValueError, match="user 7 is of type int, the known users are of type str"):
        rec.update(frame([7], rec.items[:1], [3.]))
    with pytest.raises(ValueError, match="item .1. is of type str"): rec.update(frame(['a'], ['1'], [3.]))

def test_piece_by_piece_is_at_once(rec, tmp_path):
    "Also when it was saved in between"
    news = frame([*rec.users[:4], 'new'], 999, [5., 4., 1., 2., 3.])
    at_once,piece = rec.update(news),rec
    for k in range(len(news)):
        piece = piece.update(news[k:k+1])
        piece.save(tmp_path/'r')
        piece = Recommender.load(tmp_path/'r')
    assert np.allclose(at_once.item_factors[-1], piece.item_factors[-1], atol=1e-5) and piece.trained == rec.trained
    assert np.allclose(at_once.scores(at_once.users), piece.scores(at_once.users), atol=1e-4)

def test_update_with_nothing_to_go_by(rec):
    "An item that only new users rated stays unknown, until a user from training rates it"
    later = rec.update(frame(['new', 'new'], [999, rec.items[0]], [5., 4.]))
    with pytest.raises(ValueError, match='item 999'): later.predict(['new'], [999])
    assert 999 in later.update(frame(rec.users[:1], [999], [4.])).items

def test_the_last_of_two_ratings_counts(rec):
    once,twice = (rec.update(frame(rec.users[:1]*len(r), 999, r)) for r in ([1.], [5., 1.]))
    assert np.array_equal(once.item_factors, twice.item_factors)

def test_what_does_not_fit_is_refused_at_once():
    seen = pd.DataFrame({'user': [7], 'movie': [0], 'rating': [1.]})
    for kwargs,why in ((dict(seen=seen), 'user 7 has no'), (dict(ridge=0), 'ridge must be above 0, got 0')):
        with pytest.raises(ValueError, match=why): Recommender.from_factors(torch.eye(2), torch.eye(2), **kwargs)

# On disk

def test_a_save_that_fails_last_puts_the_old_one_back(rec, tmp_path, monkeypatch):
    rec.save(tmp_path/'r')
    real = Path.rename
    def rename(self, to):
        if self.name.startswith('.r-') and not self.name.endswith('-old'): raise OSError('no')
        return real(self, to)
    monkeypatch.setattr(Path, 'rename', rename)
    with pytest.raises(OSError, match='no'): rec.save(tmp_path/'r')
    assert [p.name for p in tmp_path.iterdir()] == ['r'] and Recommender.load(tmp_path/'r').items == rec.items

def test_the_same_list_in_a_new_process(rec, tmp_path):
    rec.save(tmp_path/'r')
    assert sorted(p.name for p in (tmp_path/'r').iterdir()) == ['README.md', 'config.json', 'model.safetensors']
    assert [p.name for p in tmp_path.iterdir()] == ['r']
    program = f"""from collab_nb.serving import Recommender
r = Recommender.load({str(tmp_path/'r')!r})
for t in (r.recommend(r.users[5]), r.explain(r.users[5], r.items[0])): print(t.to_json(double_precision=15))"""
    out = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True).stdout.split('\n')
    want = rec.recommend(rec.users[5]),rec.explain(rec.users[5], rec.items[0])
    assert out[:2] == [t.to_json(double_precision=15) for t in want]

def test_saved_again(rec, tmp_path):
    rec.save(tmp_path/'r')
    other = rec.update(frame(['x'], rec.items[:1], [4.]))
    other.save(tmp_path/'r')
    assert Recommender.load(tmp_path/'r').users == other.users and [p.name for p in tmp_path.iterdir()] == ['r']

def test_a_folder_of_something_else_is_not_replaced(rec, tmp_path):
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/'thesis.txt').write_text('years of work')
    with pytest.raises(ValueError, match='is no recommender'): rec.save(tmp_path/'mine')
    assert (tmp_path/'mine'/'thesis.txt').exists()

def test_a_failed_save_leaves_the_old_one(rec, tmp_path, monkeypatch):
    rec.save(tmp_path/'r')
    def full(*args): raise OSError('disk full')
    monkeypatch.setattr('collab_nb.serving.save', full)
    with pytest.raises(OSError, match='disk full'): rec.save(tmp_path/'r')
    assert [p.name for p in tmp_path.iterdir()] == ['r'] and Recommender.load(tmp_path/'r').items == rec.items

def edit(about, **changes): about.write_text(json.dumps({**json.loads(about.read_text()), **changes}))

DAMAGE = {
    'truncated':  lambda t, a: t.write_bytes(t.read_bytes()[:100]),
    'truncated or tampered with': lambda t, a: a.write_text(a.read_text()[:50]),
    'tampered with': lambda t, a: t.write_bytes(t.read_bytes()[:-1] + bytes([t.read_bytes()[-1] ^ 1])),
    'foreign':    lambda t, a: edit(a, format='somebody.else'),
    'newer':      lambda t, a: edit(a, version=3),
    'incomplete': lambda t, a: t.unlink(),
    'oversized':  lambda t, a: t.write_bytes(t.read_bytes() + bytes(1000)),
}

@pytest.mark.parametrize('reason', DAMAGE)
def test_damaged_folders_are_refused_by_name(rec, tmp_path, reason):
    rec.save(tmp_path/'r')
    DAMAGE[reason](tmp_path/'r'/'model.safetensors', tmp_path/'r'/'config.json')
    with pytest.raises(RecommenderError, match=f'^{reason}: '): Recommender.load(tmp_path/'r')

@pytest.mark.parametrize('changes', [dict(y_range=[0, 99]), dict(items=[1]), dict(users=None), dict(titles=[])])
def test_a_changed_description_is_noticed(rec, tmp_path, changes):
    rec.save(tmp_path/'r')
    edit(tmp_path/'r'/'config.json', **changes)
    with pytest.raises(RecommenderError, match='^tampered with: '): Recommender.load(tmp_path/'r')

def test_too_large_to_be_read(rec, tmp_path):
    rec.save(tmp_path/'r')
    with pytest.raises(RecommenderError, match='^oversized: '): Recommender.load(tmp_path/'r', most=1000)

def test_nothing_there(tmp_path):
    with pytest.raises(RecommenderError, match='^incomplete: '): Recommender.load(tmp_path/'nothing')

# Beside the other chapters

def test_a_recommender_can_be_evaluated(rec, table):
    test = table[1000:]
    test = test[test.user.isin(rec.users)]
    found = evaluate(rec, test, table[:1000], k=5)
    assert found.ndcg.between(0, 1).all() and len(found) == test.user.nunique()

def test_a_user_folded_in_elsewhere_is_refused(rec):
    stranger = Recommender.from_factors(torch.eye(2), torch.eye(2)).fold_in({0: 1.})
    with pytest.raises(ValueError, match='got one from another model'): rec.recommend(stranger)
