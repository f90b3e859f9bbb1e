"""The course's own models and fastai's. Each function fits on `train` and predicts `test`: frames of user, movie,
rating (withheld in `test`) and what else the row may see.
It gives stars (n,), or a pair: stars (n,) and the probabilities of the five stars (n, 5); a row that makes lists,
scores to sort by (n,)."""
import numpy as np
import pandas as pd
import torch
from fastai.collab import CollabDataLoaders,collab_learner
from fastai.tabular.all import TabDataLoader
from fastai.torch_core import default_device

from collab_nb import ranking
from collab_nb.all import DotProductBias,Learner,Means,MSELossFlat,popular,rating_dls,set_seed
from collab_nb.baselines import tune_damping

default_device(False)     # the processor, whatever else a machine has: times are compared

def global_mean(train, test, seed): return Means(train, by=()).predict(test.user, test.movie)
def means(train, test, seed): return Means(train, damping=tune_damping(train)).predict(test.user, test.movie)

def fastai(train, test, seed, **kwargs):
    "fastai's `collab_learner` with the numbers of its own tutorial; all of `train` is trained on"
    set_seed(seed)
    dls = CollabDataLoaders.from_df(train, user_name='user', item_name='movie', rating_name='rating',
                                    bs=64, valid_pct=0, **kwargs)
    learn = collab_learner(dls, n_factors=50, y_range=(0, 5.5))
    with learn.no_bar(),learn.no_logging():
        learn.fit_one_cycle(5, 5e-3, wd=0.1)
        return learn.get_preds(dl=dls.test_dl(test[['user', 'movie']]))[0].numpy().ravel()

def mended(train, test, seed): return fastai(train, test, seed, dl_type=TabDataLoader)

def codes(dls, frame):
    "Codes (n, 2) of the rows of `frame`; an id that training never saw is `#na#`, 0"
    return torch.tensor(np.stack([[dls.classes[name].o2i.get(v, 0) for v in frame[name].tolist()]
                                  for name in (dls.user, dls.item)], axis=1))

def factors(train, test, seed, n_factors=50, bs=1024, lr=2e-2, wd=0.5, epochs=5):
    "Chapter 05's model: a dot product with biases, with weight decay"
    set_seed(seed)
    dls = rating_dls(train, splits=(np.arange(len(train)), []), bs=bs)
    model = DotProductBias(dls.n_users, dls.n_items, n_factors, y_range=(0, 5.5))
    learn = Learner(dls, model, loss_func=MSELossFlat())
    with learn.no_bar(),learn.no_logging(): learn.fit_one_cycle(epochs, lr, wd=wd)
    with torch.no_grad(): return model.eval()(codes(dls, test)).numpy()

# Chapters 08 and 09: lists. What they give is a score for each row of `test`, only good for sorting

def scored(rec, test):
    "A recommender's scores of the rows of `test`"
    users = test.user.unique()
    table = pd.DataFrame(np.asarray(rec.scores(users.tolist())), index=users, columns=list(rec.items))
    rows,columns = table.index.get_indexer(test.user),table.columns.get_indexer(test.movie)
    return np.where(columns < 0, -np.inf, table.to_numpy()[rows, columns])

def popularity(train, test, seed): return scored(popular(train), test)
def ials(train, test, seed, **settings): return scored(ranking.ials(train, seed=seed, **settings), test)
def ease(train, test, seed, **settings): return scored(ranking.ease(train, **settings), test)

# Chapter 12: who rated what

def known(train, test):
    """The frames, and as arguments what they show besides ratings: tags when there are side features,
    a session when there is a time"""
    from collab_nb.further.sets import movie_tags,user_days,user_tags
    both,more = pd.concat([train, test]),{}
    if 'age' in both:
        more['user_tags'] = user_tags(both.drop_duplicates('user'))
        more['item_tags'] = movie_tags(both.drop_duplicates('movie'))
    if 'timestamp' in both:
        train,test = (f.assign(day=user_days(f)) for f in (train, test))
        more['session'] = 'day'
    return train,test,more

def ladder(train, test, seed, **settings):
    "Chapter 12's model by gradient"
    from collab_nb.further.sets import fit_predict
    train,test,more = known(train, test)
    return fit_predict(train, test, seed=seed, **more, **settings)

def plain_factors(*args, **settings): return ladder(*args, rated=False, raters=False, **settings)
def svdpp(*args, **settings): return ladder(*args, raters=False, **settings)
def five_seeds(train, test, seed, **settings):
    return np.mean([ladder(train, test, seed=seed+i, **settings) for i in range(5)], axis=0)

def ladder_tries(rung, split):
    """What chapter 12 tried for a rung of its ladder: [(RMSE on the inner rows, CPU seconds, settings)]. The chapter's
    trials on fold k are the bench's, on the same inner rows; where none are stored, the same settings are tried now:
    (None, 0, settings)"""
    from collab_nb.further.sets import read_trials
    settings = lambda t: {k: t[k] for k in ('prior', 'epochs', 'lr', 'n_factors')}
    stored = read_trials(fold=int(split[1:])).get(rung) if split in ('u1', 'u2', 'u3', 'u4', 'u5') else None
    if stored: return [(t['rmse'], t['seconds'], settings(t)) for t in stored]
    return [(None, 0, settings(t)) for t in read_trials(fold=1)[rung]]

# Chapter 13: the same model by Gibbs sampling, and the two blended

def posterior(train, test, seed, **settings):
    from collab_nb.further.sampler import gibbs
    train,test,more = known(train, test)
    return gibbs(train, test, seed=seed, **more, **settings)

def sampled(*args, **settings):
    said = posterior(*args, **settings)
    return said.mean,said.probs

def blended(train, test, seed, **settings):
    """The sampled model with what its residuals add and five fits by gradient, weights found on a tenth of `train`;
    the sampler's probabilities, tilted to the blend's means"""
    from collab_nb.further.sampler import blend,movie_residuals,tilt
    said = []
    def by_sampling(a, b):
        said.append(posterior(a, b, seed, fitted=True, **settings))
        return said[-1].mean + movie_residuals(a, a.rating-said[-1].fitted, b)
    preds,_,_ = blend(train, test, [by_sampling, lambda a,b: five_seeds(a, b, 5*seed)])
    return preds,tilt(said[-1].probs, preds)
