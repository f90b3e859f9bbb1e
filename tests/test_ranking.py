"The list models of chapter 09, on small tables"
import numpy as np
import pandas as pd
import pytest
import torch

from collab_nb.data import synth_ratings
from collab_nb.evaluate import evaluate, hold_out, popular
from collab_nb.ranking import ease, ials

@pytest.fixture(scope='module')
def parts():
    planted = synth_ratings(120, 80, 4_000, seed=1)
    return [planted.iloc[rows] for rows in hold_out(planted, 5, 10)]

def test_ease_and_ials_find_what_was_planted():
    "Both beat popularity where each user likes one half of the items"
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(100), 30)
    items = np.concatenate([rng.choice(60, 30, replace=False) + 60*(u%2) for u in range(100)])
    table = pd.DataFrame({'user': users, 'movie': items, 'rating': 5.})
    train,test = (table.iloc[s] for s in hold_out(table, 5))
    base = evaluate(popular(train), test, train).ndcg.mean()
    for rec in (ease(train, 10.), ials(train, n_factors=4, reg=1.)):
        assert evaluate(rec, test, train).ndcg.mean() > 1.3*base

def test_models_take_text_ids_and_repeats(parts):
    train,test = (p.assign(who='u'+p.user.astype(str), what='i'+p.movie.astype(str)) for p in parts)
    for fit,setting in ((ials, 4), (ease, 9.)):
        plain,named = fit(train, setting),fit(train, setting, user='who', item='what')
        a = evaluate(plain, test, train)
        b = evaluate(named, test, train, user='who', item='what')
        assert set(named.users) == {f'u{u}' for u in plain.users}
        assert a.ndcg.mean() == pytest.approx(b.ndcg.mean(), abs=.02)
    twice = pd.concat([train, train])
    torch.testing.assert_close(ials(twice, 4).user_factors, ials(train, 4).user_factors)
    torch.testing.assert_close(ease(twice, 9.).weights, ease(train, 9.).weights)

def test_ials_is_the_same_under_a_seed(parts):
    a,b,c = (ials(parts[0], 4, seed=s) for s in (1, 1, 2))
    torch.testing.assert_close(a.item_factors, b.item_factors, rtol=0, atol=0)
    assert not torch.equal(a.item_factors, c.item_factors)
    torch.testing.assert_close(a.scores(a.users[3:5]), a.user_factors[3:5] @ a.item_factors.T)

@pytest.mark.parametrize('fit, words', [
    (lambda t: ials(t, reg=0), 'reg is 0'), (lambda t: ials(t, n_factors=0), 'n_factors is 0'),
    (lambda t: ease(t, -1.), 'reg is'),
    (lambda t: ials(t[:0]), 'empty'), (lambda t: ease(t[:0]), 'empty'),
    (lambda t: ials(t, 4, item='what'), "no column 'what'"), (lambda t: ease(t, user='who'), "no column 'who'"),
    (lambda t: ials(t, 4, n_iter=1).scores([-1]), 'user -1'), (lambda t: ease(t).scores([-1]), 'user -1')])
def test_models_say_what_is_wrong(parts, fit, words):
    with pytest.raises(ValueError, match=words): fit(parts[0])
