"""The rows of `make bench PART=speed`, and the process that each of them gets.

A row's function gets a `Table` of codes from 0 and ratings, a `lap` to call when what it was given is ready for the fit
('preparing' ends there), and its settings. It gives a function that predicts (user codes, item codes), or, for lists,
the factors of users and of items. Packages are imported where they're used: some are in .venv, others in _bench/.venv.

`python speed_rows.py JOB` does a job (speed.py has the kinds) and prints the result as its last line, in JSON."""
import importlib
import importlib.metadata
import json
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from protocol import peak,trials

@dataclass
class Table:
    "Codes (n,) int32 from 0, each of which occurs, and ratings (n,) float32"
    u:np.ndarray
    i:np.ndarray
    r:np.ndarray

    @property
    def n_users(self): return int(self.u.max())+1
    @property
    def n_items(self): return int(self.i.max())+1

    def frame(self): return pd.DataFrame({'user': self.u, 'movie': self.i, 'rating': self.r})

    def csr(self, values=None):
        from scipy.sparse import csr_matrix
        values = np.ones(len(self.u), dtype='float32') if values is None else values
        return csr_matrix((values, (self.u, self.i)), shape=(self.n_users, self.n_items))

def compact(u, i, r):
    "A table with codes that all occur, and what the old codes are now (-1 if they're gone)"
    news = []
    for codes in (u, i):
        seen = np.bincount(codes) > 0
        news.append(np.where(seen, seen.cumsum()-1, -1).astype('int32'))
    return Table(news[0][u], news[1][i], r),news

def dot(P, Q, u, i, more=lambda u,i: 0., size=100_000):
    "Dot products of the rows `u` of P and `i` of Q, plus `more`, some at a time"
    parts = [slice(a, a+size) for a in range(0, len(u), size)]
    return np.concatenate([np.einsum('nk,nk->n', P[u[s]], Q[i[s]]) + more(u[s], i[s]) for s in parts])

# fastai, and the course's own

def quiet(learn, epochs, lr, wd):
    with learn.no_bar(),learn.no_logging(): learn.fit_one_cycle(epochs, lr, wd=wd)

def from_codes(dls, model):
    "Predictions of a model whose loaders have classes of their own: `#na#` first, then the codes in order"
    import torch
    def predict(u, i):
        x = torch.from_numpy(np.stack([u, i], axis=1).astype('int64')+1)
        with torch.no_grad(): return torch.cat([model(part) for part in x.split(100_000)]).numpy().ravel()
    model.eval()
    return predict

def bias_model(dls, n_factors):
    from collab_nb.bias import DotProductBias
    return DotProductBias(*(len(c) for c in dls.classes.values()), n_factors)

def fastai(table, lap, seed, lr, wd, bs, epochs=5, n_factors=50, **kwargs):
    "fastai's loaders, Learner and model; where a batch is larger than its tutorial's, the rest is as there"
    from fastai.collab import CollabDataLoaders,collab_learner,set_seed
    set_seed(seed)
    dls = CollabDataLoaders.from_df(table.frame(), user_name='user', item_name='movie', rating_name='rating', bs=bs,
                                    valid_pct=0, **kwargs)
    learn = collab_learner(dls, n_factors=n_factors, y_range=(0, 5.5))
    lap('preparing')
    quiet(learn, epochs, lr, wd)
    return from_codes(dls, learn.model)

def fixed(*args, **settings):
    "The same with each rating once an epoch"
    from fastai.tabular.all import TabDataLoader
    return fastai(*args, dl_type=TabDataLoader, **settings)

def our_loaders(table, bs, seed):
    from fastai.collab import set_seed

    from collab_nb.loader import rating_dls
    set_seed(seed)
    return rating_dls(table.frame(), splits=(np.arange(len(table.u)), []), bs=bs, device='cpu')

def loader(table, lap, seed, lr, wd, bs, epochs=5, n_factors=50):
    "Our loader, fastai's Learner as it comes"
    from fastai.collab import MSELossFlat
    from fastai.learner import Learner
    dls = our_loaders(table, bs, seed)
    learn = Learner(dls, bias_model(dls, n_factors), loss_func=MSELossFlat())
    lap('preparing')
    quiet(learn, epochs, lr, wd)
    return from_codes(dls, learn.model)

def fast_learner(dls, n_factors=50):
    "The Learner's fast path: what fastai does for each batch and doesn't have to do for plain tensors is left out"
    from functools import partial

    import torch
    from fastai.learner import CastToTensor
    from fastai.optimizer import OptimWrapper

    from collab_nb.loader import Learner
    Adam = partial(OptimWrapper, opt=torch.optim.AdamW, fused=True, eps=1e-5, betas=(.95, .99))     # fastai's numbers
    learn = Learner(dls, bias_model(dls, n_factors), loss_func=torch.nn.MSELoss(), opt_func=Adam)
    learn.remove_cb(CastToTensor)
    return learn

def learner(table, lap, seed, lr, wd, bs, epochs=5, n_factors=50):
    dls = our_loaders(table, bs, seed)
    learn = fast_learner(dls, n_factors)
    lap('preparing')
    quiet(learn, epochs, lr, wd)
    return from_codes(dls, learn.model)

def bare(table, lap, seed, lr, wd, bs, epochs=5, n_factors=50):
    from collab_nb.training import train_one_cycle
    dls = our_loaders(table, bs, seed)
    model = bias_model(dls, n_factors)
    lap('preparing')
    train_one_cycle(model, dls, epochs=epochs, lr=lr, wd=wd)
    return from_codes(dls, model)

def kernel(table, lap, seed, threads=1, **settings):
    "From a DataFrame to a Recommender. What isn't an epoch is preparing; the first one counts like the others"
    from collab_nb.further.speed import fit_fast
    frame,ends,walls = table.frame(),[],[]
    def after(share):
        ends.append(time.process_time())
        walls.append(time.perf_counter())
    start = time.process_time()
    rec = fit_fast(frame, seed=seed, threads=threads, progress=after, **settings)
    total = time.process_time()-start
    n = len(ends)
    if n > 1:
        epoch,wall = (ends[-1]-ends[0])/(n-1),(walls[-1]-walls[0])/(n-1)
        lap('preparing', total-n*epoch)
        lap.more = {'ratings_per_s': len(frame)/epoch, 'wall_epochs': n*wall}
    predict = in_parts(rec)
    predict.rec = rec
    return predict

def in_parts(rec, size=100_000):
    "`predict` of a recommender, some pairs at a time"
    return lambda u,i: np.concatenate([rec.predict(a, b) for a,b in zip(*(
        np.array_split(c, len(c)//size+1) for c in (u, i)))])

# Other people's models of ratings

def cmfrec(table, lap, seed, **settings):
    "cmfrec's `CMF` by alternating least squares with conjugate gradient (Cortes, 2018)"
    from cmfrec import CMF
    from scipy.sparse import coo_matrix
    coo = coo_matrix((table.r, (table.u, table.i)), shape=(table.n_users, table.n_items))
    lap('preparing')
    model = CMF(method='als', use_cg=True, finalize_chol=False, scale_lam=True, use_float=True, nthreads=1,
                random_state=seed, verbose=False, precompute_for_predictions=False, **settings).fit(coo)
    return lambda u,i: model.predict(u, i)

def means_of(table, damping=5):
    "The mean, and what movies and then users add to it, damped"
    mean = table.r.mean(dtype='float64')
    rest,res = table.r-mean,[]
    for codes in (table.i, table.u):
        res.append((np.bincount(codes, rest)/(np.bincount(codes)+damping)).astype('float32'))
        rest = rest-res[-1][codes]
    return mean,res[1],res[0],rest

def libmf(table, lap, seed, reg, centered=False, **settings):
    """LIBMF's `P_L2_MFR`: factors without biases, by stochastic gradient descent in blocks (Chin and others, 2015).
    Two things in its package make it look worse than the mean. `fit` reads an array by rows, but `predict` reads one by
    columns: an array in NumPy's usual order gets predictions of other pairs; one in Fortran's order gets its own. And
    the package sets the L1 penalties, which are 0 in LIBMF itself, to .04, which leaves little of the factors.
    `centered`: it learns what means leave, since it has no biases"""
    import contextlib
    import io
    with contextlib.redirect_stdout(io.StringIO()): from libmf import mf     # it says where it was found
    mean,bu,bi,rest = means_of(table) if centered else (0., None, None, table.r)
    rows = np.stack([table.u, table.i, rest], axis=1).astype('float32')
    model = mf.MF(nr_threads=1, quiet=True, lambda_p1=0., lambda_q1=0., lambda_p2=reg, lambda_q2=reg, **settings)
    lap('preparing')
    model.fit(rows)
    said = lambda u,i: model.predict(np.asfortranarray(np.stack([u, i], axis=1).astype('float32')))
    return (lambda u,i: said(u, i)+mean+bu[u]+bi[i]) if centered else said

def lenskit(table, lap, seed, **settings):
    "LensKit's `BiasedMFScorer`: biased factors by alternating least squares (Ekstrand, 2020)"
    from lenskit.als import BiasedMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.random import set_global_rng
    from lenskit.training import TrainingOptions
    set_global_rng(seed)
    data = from_interactions_df(table.frame(), user_col='user', item_col='movie', rating_col='rating')
    model = BiasedMFScorer(**settings)
    lap('preparing')
    model.train(data, TrainingOptions(rng=seed))
    users,items = (v.numbers(np.arange(n)) for v,n in ((model.users, table.n_users), (model.items, table.n_items)))
    bias = model.bias
    P,Q = model.user_embeddings[users],model.item_embeddings[items]
    bu,bi = np.asarray(bias.user_biases)[users],np.asarray(bias.item_biases)[items]
    return lambda u,i: dot(P, Q, u, i, lambda u,i: bias.global_bias + bu[u] + bi[i])

def surprise(table, lap, seed, **settings):
    "Surprise's `SVD`: biased factors by stochastic gradient descent (Hug, 2020)"
    from surprise import SVD,Dataset,Reader
    data = Dataset.load_from_df(table.frame(), Reader(rating_scale=(1, 5))).build_full_trainset()
    lap('preparing')
    model = SVD(random_state=seed, **settings).fit(data)
    users,items = ([to(k) for k in range(n)] for to,n in ((data.to_inner_uid, table.n_users),
                                                          (data.to_inner_iid, table.n_items)))
    P,Q,bu,bi = model.pu[users],model.qi[items],model.bu[users],model.bi[items]
    return lambda u,i: dot(P, Q, u, i, lambda u,i: data.global_mean + bu[u] + bi[i])

def cornac(table, lap, seed, **settings):
    "Cornac's `MF`: biased factors by stochastic gradient descent (Salah et al., 2020); it gets the codes as they are"
    from cornac.data import Dataset
    from cornac.models import MF
    codes = [{k: k for k in range(n)} for n in (table.n_users, table.n_items)]
    rows = table.u.astype('int64'),table.i.astype('int64'),table.r.astype('float64')
    data = Dataset(table.n_users, table.n_items, *codes, rows, seed=seed)
    lap('preparing')
    model = MF(seed=seed, num_threads=1, **settings).fit(data)
    P,Q = np.asarray(model.u_factors),np.asarray(model.i_factors)
    bu,bi = np.asarray(model.u_biases),np.asarray(model.i_biases)
    return lambda u,i: dot(P, Q, u, i, lambda u,i: data.global_mean + bu[u] + bi[i])

# Lists: who liked what (at least four stars), without the stars

def implicit(table, lap, seed, **settings):
    "implicit's `AlternatingLeastSquares`, by conjugate gradient as it comes"
    from implicit.als import AlternatingLeastSquares
    alpha = np.float32(settings.pop('alpha'))
    liked = table.csr(np.full(len(table.u), alpha, dtype='float32'))
    model = AlternatingLeastSquares(random_state=seed, num_threads=1, **settings)
    lap('preparing')
    model.fit(liked, show_progress=False)
    return model.user_factors,model.item_factors

def irspack(table, lap, seed, **settings):
    "irspack's `IALSRecommender`: iALS with the regularization of Rendle and others (2022), by conjugate gradient"
    from irspack.recommenders.ials import IALSRecommender
    liked = table.csr()
    model = IALSRecommender(liked, n_threads=1, random_seed=seed, **settings)
    lap('preparing')
    model.learn()
    return np.asarray(model.get_user_embedding()),np.asarray(model.get_item_embedding())

def of_recommender(rec):
    "The factors behind a recommender of lists; its ids are all the codes, in order"
    return np.asarray(rec._vectors(rec.users)),np.asarray(rec.item_table)

def ials(table, lap, seed, **settings):
    from collab_nb.ranking import ials
    frame = table.frame()
    lap('preparing')
    return of_recommender(ials(frame, seed=seed, **settings))

def ials_fast(table, lap, seed, **settings):
    from collab_nb.further.implicit import ials_fast
    frame = table.frame()
    lap('preparing')
    return of_recommender(ials_fast(frame, seed=seed, threads=1, **settings))

# The rows. `default` is tried first, then draws from `space`, until all have had the same number of trials

def row(name, fit, needs, default, space, **more):
    return dict(name=name, fit=fit, needs=needs, default=default, space=space, **more)

def sizes(small, large):
    "Settings that differ between tables"
    return {'100k': small, '10M': large}

ADAM = sizes(dict(lr=[5e-3, 7e-3, .01], wd=[.1, .2, .28, .4, .5]), dict(lr=[.01, .02, .04], wd=[.05, .1, .2, .4]))
TUTORIAL = sizes(dict(lr=5e-3, wd=.1, bs=64), dict(lr=.02, wd=.1, bs=16_384))
OURS = dict(group='ours', needs=['collab_nb'])

def batches(n):
    "The Learner's fast path with batches of n"
    tables = ['100k'] if n <= 1024 else ['10M']
    default = {64: (7e-3, .2), 256: (7e-3, .28), 1024: (.01, .5)}.get(n, (.02, .2))
    return row(f"Learner's fast path, batches of {n:,}", 'learner', default=dict(lr=default[0], wd=default[1], bs=n),
               space=ADAM, tables=tables, **OURS)

ROWS = [
    row('stock fastai', 'fastai', ['fastai'], TUTORIAL, ADAM, group='fastai', slice=True),
    row('fastai, each rating once', 'fixed', ['fastai'], TUTORIAL, ADAM, group='fastai', slice=True),
    row("rating_dls, fastai's Learner", 'loader', default=TUTORIAL, space=ADAM, slice=True, **OURS),
    *(batches(n) for n in (64, 256, 1024, 4096, 16_384, 65_536)),
    row('bare loop', 'bare', default=sizes(dict(lr=7e-3, wd=.28, bs=256), dict(lr=.02, wd=.2, bs=16_384)), space=ADAM,
        **OURS),
    row('compiled kernel', 'kernel', default=sizes({}, dict(n_factors=50, reg=.04, nu=.5, epochs=6)), space=sizes(
        dict(reg=[.08, .1, .12, .14], nu=[.5, .7], epochs=[10, 14, 20], lr=[.07, .1]),
        dict(reg=(.02, .06), nu=[.5, .8, 1.], epochs=[6, 8])),
        group='ours', needs=['collab_nb.further.speed']),
    row('cmfrec, ALS by conjugate gradient', 'cmfrec', ['cmfrec'], dict(k=50, lambda_=.06, niter=5), sizes(
        dict(k=[10, 20, 50], lambda_=(.05, .3), niter=[5, 10]),
        dict(k=[10, 20, 50], lambda_=(.02, .15), niter=[5, 10]))),
    row('LIBMF', 'libmf', ['libmf'], dict(k=32, reg=.05, eta=.1, nr_iters=20), dict(
        k=[16, 32], reg=(.02, .12), eta=[.05, .1], nr_iters=[10, 20], centered=[True, False])),
    row('LensKit BiasedMF', 'lenskit', ['lenskit'], dict(embedding_size=50, epochs=10, regularization=.1), dict(
        embedding_size=[10, 20, 50], epochs=[5, 10], regularization=(.03, .3), damping=[0., 5., 10.])),
    row('Surprise SVD', 'surprise', ['surprise'], dict(n_factors=50), dict(
        n_factors=[10, 20, 50], n_epochs=[20], lr_all=(.005, .02), reg_all=(.02, .15)), slice=True),
    row('Cornac MF', 'cornac', ['cornac'], dict(k=50, max_iter=20), dict(
        k=[10, 20, 50], max_iter=[20, 40], learning_rate=(.005, .03), lambda_reg=(.02, .15))),
    row('implicit, ALS', 'implicit', ['implicit'], dict(factors=64, alpha=2., regularization=10., iterations=8), dict(
        regularization=(1., 300.), alpha=(1., 40.), iterations=[3, 5, 8]), task='lists'),
    row('irspack, iALS', 'irspack', ['irspack'], dict(n_components=64, alpha0=.1, reg=.01, train_epochs=8), dict(
        alpha0=(.03, 1.), reg=(.002, .1), train_epochs=[3, 5, 8]), task='lists'),
    row('our ials', 'ials', default=dict(n_factors=64, n_iter=8), space=dict(
        n_iter=[3, 5, 8], reg=(10., 300.), alpha=(.3, 10.)), task='lists', slice=True, **OURS),
    row('our ials_fast', 'ials_fast', default=dict(n_factors=64, n_iter=8), space=dict(
        n_iter=[3, 5, 8], reg=(10., 300.), alpha=(.3, 10.)), task='lists', group='ours',
        needs=['collab_nb.further.implicit']),
]
for r in ROWS:
    r.setdefault('group', 'peer')
    r.setdefault('task', 'stars')
    r.setdefault('tables', ['100k', '10M'])

def of_table(row, table):
    "The row as it is for a table: `default` and `space` may differ"
    pick = lambda of: of[table] if set(of) == {'100k', '10M'} else of
    return {**row, 'default': pick(row['default']), 'space': pick(row['space'])}

def tries(row, n):
    "The `n` settings that a row tries: its default, and draws that replace what the space names"
    first = {k: row['default'].get(k) for k in row['space']}     # so that no draw is the default again
    return [row['default'], *({**row['default'], **t} for t in trials({**row, 'default': first}, n)[1:])]

# A job in a process of its own

class Laps:
    "CPU seconds by phase. A phase ends when it's named, or lasts as long as is said"
    def __init__(self):
        self.start,self.of,self.more = time.process_time(),{},{}
    def __call__(self, name, seconds=None):
        self.of[name] = time.process_time()-self.start if seconds is None else seconds
    def done(self):
        total = time.process_time()-self.start
        return {'cpu': total, 'preparing': self.of.get('preparing', 0.)}

def load(file):
    "The table to fit, and what's held out of it"
    held = np.load(file)
    return Table(*(held[f'train_{c}'] for c in 'uir')),Table(*(held[f'test_{c}'] for c in 'uir'))

def rmse(table, test, predict):
    said = np.clip(np.asarray(predict(test.u, test.i), dtype='float64'), table.r.min(), table.r.max())
    if said.shape != test.r.shape or not np.isfinite(said).all():
        raise ValueError(f'predictions must be {len(test.r)} finite numbers, got shape {said.shape}')
    return float(np.sqrt(np.mean((said-test.r)**2)))

def ndcg(P, Q, table, test, k=10, n_users=2000, size=200):
    "Mean NDCG@k over all items, of the first `n_users` users who have a held-out one; what training shows is left out"
    users = np.unique(test.u)[:n_users]
    known,wanted = table.csr()[users],Table(test.u, test.i, test.r)
    at = pd.Index(users).get_indexer(wanted.u)
    held = pd.Series(wanted.i[at >= 0]).groupby(at[at >= 0]).agg(set)
    discount = 1/np.log2(np.arange(k)+2)
    best = np.append(0, discount.cumsum())
    res = []
    for a in range(0, len(users), size):
        scores = P[users[a:a+size]] @ Q.T
        rows,cols = known[a:a+size].nonzero()
        scores[rows, cols] = -np.inf
        top = np.argpartition(-scores, k, axis=1)[:,:k]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1), axis=1)
        for j,items in enumerate(top):
            mine = held[a+j]
            res.append(sum(d for d,item in zip(discount, items) if item in mine)/best[min(k, len(mine))])
    return float(np.mean(res))

def score(row, table, test, settings, seed=42):
    "Fit and look at what's held out: CPU seconds, the error, and peak memory up to the end of the fit"
    lap = Laps()
    out = globals()[row['fit']](table, lap, seed, **settings)
    res = {**lap.done(), 'mb': peak(), **lap.more}
    if row['task'] == 'lists': return {**res, 'ndcg': ndcg(*out, table, test)}
    return {**res, 'rmse': rmse(table, test, out)}

def like(table, at=4):
    "The rows with at least four stars, as codes of their own, and the same of what's held out"
    fit,test = table
    keep = fit.r >= at
    res,(users,items) = compact(fit.u[keep], fit.i[keep], fit.r[keep])
    inside = (test.r >= at) & (test.u < len(users)) & (test.i < len(items))
    u,i,r = (a[inside] for a in (test.u, test.i, test.r))
    u,i = users[u],items[i]
    both = (u >= 0) & (i >= 0)
    return res,Table(u[both], i[both], r[both])

def warm(row, table, settings):
    "A fit of a tiny table, so that neither imports nor compiling are in the times"
    few = slice(0, 3000)
    tiny,_ = compact(table.u[few], table.i[few], table.r[few])
    globals()[row['fit']](tiny, Laps(), 0, **settings)
    status = Path('/proc/self/clear_refs')     # Linux begins anew with the most memory
    if status.exists(): status.write_text('5')

def versions(row):
    names = {'collab_nb': ['torch', 'fastai'], 'fastai': ['fastai', 'torch'], 'surprise': ['scikit-surprise']}
    of = names.get(row['needs'][0].split('.')[0], row['needs'])
    if row['fit'] == 'kernel' or row['fit'] == 'ials_fast': of = ['numba']
    return {n: importlib.metadata.version(n) for n in of}

def do_trials(row, data, job):
    tried = []
    for settings in job['settings']:
        try:
            got = score(row, *data, settings)
            tried.append({'settings': settings, **{k: got[k] for k in ('rmse', 'ndcg', 'cpu') if k in got}})
        except (ValueError, ArithmeticError) as e: tried.append({'settings': settings, 'failed': str(e)[:200]})
    return {'tried': tried}

def do_fit(row, data, job): return {**score(row, *data, job['settings']), 'settings': job['settings']}

def do_threads(row, data, job):
    "One thread and two, in turn, on the clock on the wall: the best of `runs`, and whether the bits are the same"
    walls,recs = {1: [], 2: []},{}
    for _ in range(job['runs']):
        for k in (1, 2):
            lap = Laps()
            recs[k] = kernel(data[0], lap, 42, threads=k, **job['settings']).rec
            walls[k].append(lap.more['wall_epochs'])
    same = all((np.asarray(f(recs[1])) == np.asarray(f(recs[2]))).all()
               for f in (lambda rec: rec.item_table, lambda rec: rec._vectors(rec.users)))
    if not same: raise AssertionError('two threads must give the bits that one gives')
    return {'ratio': min(walls[1])/min(walls[2]), 'wall': [min(walls[1]), min(walls[2])], 'same_bits': bool(same)}

def do_coded(row, data, job):
    "From codes to rows, sorting included: medians of CPU seconds, and the error. From a DataFrame it takes longer"
    from collab_nb.further.speed import Schedule,into_blocks
    (table,test),laps = data,[]
    for _ in range(job['runs']):
        lap = Laps()
        plan = Schedule(**job['settings']).cut(np.bincount(table.u), np.bincount(table.i))
        mean,unit = plan.level(table.r.sum(dtype='float64'), np.square(table.r, dtype='float64').sum())
        *blocks,starts = into_blocks(table.u, table.i, ((table.r-mean)/unit).astype('float32'), *plan.places,
                                     plan.n_groups)
        P,Q = (np.concatenate([plan.rows(side, g) for g in range(plan.n_groups)]) for side in (0, 1))
        lap('preparing')
        n = plan.n_groups
        for step,g in product(range(plan.epochs*n), range(n)):     # diagonal by diagonal
            b = g*n + (g+step) % n
            plan.learn(P, Q, [a[starts[b]:starts[b+1]] for a in blocks], step, g)
        laps.append(lap.done())
    cpu,preparing = (float(np.median([of[k] for of in laps])) for k in ('cpu', 'preparing'))
    rec = plan.recommender(P, Q, mean, list(range(table.n_users)), list(range(table.n_items)), unit=unit)
    return {'settings': job['settings'], 'preparing': preparing, 'cpu': cpu, 'mb': peak(),
            'ratings_per_s': plan.epochs*len(table.u)/(cpu-preparing), 'rmse': rmse(table, test, in_parts(rec))}

PATHS = [(64, 3e-3, .1), (256, 7e-3, .28), (512, 8e-3, .4), (768, .01, .5), (1024, .01, .4)]     # batch, rate, decay
# chosen on rows held out of other splits' training rows (seeds 10 to 12)

def do_kept(row, data, job, paths=PATHS):
    """The Learner's fast path against stock fastai, on the scoreboard's splits of MovieLens-100k: CPU seconds of an
    epoch in turn, without validation; and the errors, paired with the bias model's"""
    from fastai.collab import CollabDataLoaders,MSELossFlat,set_seed
    from fastai.learner import Learner

    from collab_nb.data import get_ml100k,random_split,rating_dls,read_ratings
    from collab_nb.intervals import compare_splits
    from collab_nb.scoreboard import read_scoreboard,scoreboard_bars
    from collab_nb.training import validation_mse
    if job['quick']: return {'stock': None, 'paths': []}
    ratings,epoch = read_ratings(get_ml100k()),{}
    train = ratings.iloc[random_split(ratings, seed=0)[0]].drop(columns='title')
    def cost(learn):
        start = time.process_time()
        quiet(learn, 1, 5e-3, .1)
        return time.process_time()-start
    for _ in range(3):
        dls = CollabDataLoaders.from_df(train, item_name='movie', bs=64, valid_pct=0)
        epoch.setdefault('stock', []).append(cost(Learner(dls, bias_model(dls, 50), loss_func=MSELossFlat())))
        for bs,_,_ in paths:
            dls = rating_dls(train, splits=(np.arange(len(train)), []), bs=bs, device='cpu')
            epoch.setdefault(bs, []).append(cost(fast_learner(dls)))
    cpu = {k: float(np.median(v)) for k,v in epoch.items()}
    rival = scoreboard_bars(read_scoreboard())['bias, wd=0.2']
    def error(seed, bs, lr, wd):
        dls = rating_dls(ratings, splits=random_split(ratings, seed=seed), bs=bs, device='cpu')
        set_seed(seed)
        learn = fast_learner(dls)
        set_seed(seed, reproducible=True)
        quiet(learn, 5, lr, wd)
        return validation_mse(learn.model, dls)
    res = []
    for bs,lr,wd in paths:
        errors = [error(seed, bs, lr, wd) for seed in range(5)]
        res.append({'bs': bs, 'lr': lr, 'wd': wd, 'cpu': cpu[bs], 'mse': float(np.mean(errors)), 'errors': errors,
                    'gain': repr(compare_splits(rival, errors))})
    return {'stock': cpu['stock'], 'paths': res}

def do_five(row, data, job):
    "The compiled kernel, as it comes, and the bias model on the scoreboard's five splits, as chapter 14 has it"
    from collab_nb.data import get_ml100k,random_split,read_ratings
    from collab_nb.further.speed import fit_fast
    from collab_nb.intervals import compare_splits
    from collab_nb.scoreboard import read_scoreboard,scoreboard_bars
    if job['quick']: return {'gain': None}
    ratings = read_ratings(get_ml100k())
    def error(seed):
        train,valid = (ratings.iloc[rows] for rows in random_split(ratings, seed=seed))
        rec = fit_fast(train)
        pred = train.rating.mean()-train.rating.std()+rec._vectors(valid.user)[:,-1]     # of a movie without ratings
        at = valid.movie.isin(rec.items).to_numpy()
        pred[at] = rec.predict(valid.user[at], valid.movie[at])
        return float(((pred.clip(1, 5) - valid.rating)**2).mean())
    rival,errors = scoreboard_bars(read_scoreboard())['bias, wd=0.2'],[error(seed) for seed in range(5)]
    return {'mse': float(np.mean(errors)), 'errors': errors, 'rival': float(np.mean(rival)),
            'gain': repr(compare_splits(rival, errors))}

JOBS = {'trials': do_trials, 'fit': do_fit, 'threads': do_threads, 'coded': do_coded, 'kept': do_kept, 'five': do_five}

def main(job):
    row = of_table(next(r for r in ROWS if r['name'] == job['row']), job['table'])
    try:
        for module in row['needs']: importlib.import_module(module)
    except ImportError as e: return {'missing': str(e).replace("'", '')}
    if 'torch' in sys.modules: sys.modules['torch'].set_num_threads(1)
    data = load(job['file'])
    if row['task'] == 'lists': data = like(data)
    warm(row, data[0], job['settings'][0] if job['kind'] == 'trials' else job['settings'])
    res = JOBS[job['kind']](row, data, job)
    return {**res, 'versions': versions(row)}

if __name__ == '__main__':
    result = main(json.loads(sys.argv[1]))
    print('\n'+json.dumps(result))
