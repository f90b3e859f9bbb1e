"The net, the five stars and the plain loop, on small planted tables."
import pytest
import torch
import torch.nn.functional as F
from fastai.collab import CollabDataLoaders,MSELossFlat,TabDataLoader,set_seed

from collab_nb.bias import DotProductBias
from collab_nb.data import random_split,rating_dls,synth_ratings
from collab_nb.further.deep import ADAM,CYCLE,CollabNet,ExpectedStars,StarCrossEntropy,StarProduct,fit_torch,valley
from collab_nb.loader import Learner

@pytest.fixture(scope='module')
def table(): return synth_ratings(120, 80, 4000, seed=1)

@pytest.fixture(scope='module')
def dls(table): return rating_dls(table, splits=random_split(table, seed=0), bs=256, device='cpu')

def seeded(make):
    set_seed(3, reproducible=True)
    return make()

@pytest.mark.parametrize('make', [
    CollabNet, lambda *n: CollabNet(*n, 3, 4, layers=(), y_range=None),
    lambda *n: CollabNet(*n, layers=(20, 10), p=.2, emb_p=.1), lambda *n: ExpectedStars(StarProduct(*n)),
    lambda *n: ExpectedStars(StarProduct(*n, n_spread=0)), lambda *n: ExpectedStars(CollabNet(*n, n_out=5))])
def test_codes_in_ratings_out(dls, make):
    model = make(dls.n_users, dls.n_items).eval()
    x,y = dls.one_batch()
    assert model(x).shape == y.shape
    assert model(x[:1]).shape == (1,)
    assert torch.allclose(model(x)[5:9], model(x[5:9]), atol=1e-6)     # a row doesn't depend on its neighbors

def test_net_by_hand():
    net = CollabNet(3, 4, 2, 1, layers=(2,), y_range=(1, 5))
    x = torch.tensor([[2, 3], [0, 1]])
    first,last = net.layers[0],net.layers[3]
    rows = torch.stack([torch.cat([net.user_factors.weight[u], net.movie_factors.weight[m]]) for u,m in x])
    slow = 1 + 4*torch.sigmoid((rows@first.weight.T + first.bias).clamp(min=0)@last.weight[0] + last.bias)
    assert torch.allclose(net(x), slow, atol=1e-6)

@pytest.mark.parametrize('kwargs, why', [(dict(layers=(0,)), r'at least 1 unit each, got \(0,\)'),
                                         (dict(n_out=0), 'n_out must be at least 1, got 0'),
                                         (dict(p=1), '^p must be at least 0 and below 1, got 1'),
                                         (dict(emb_p=-.1), 'emb_p must be .* got -0.1')])
def test_net_refuses(kwargs, why):
    with pytest.raises(ValueError, match=why): CollabNet(3, 4, **kwargs)

def test_star_loss_is_pytorchs():
    logits,y = torch.randn(7, 5),torch.tensor([1., 5, 3, 2, 4, 4, 1])
    loss = StarCrossEntropy()
    assert torch.isclose(loss(logits, y), F.cross_entropy(logits, y.long()-1))
    assert torch.isclose(loss(logits, y[:,None].to(torch.int8)), loss(logits, y))      # as fastai's own loader has them
    assert StarCrossEntropy(reduction='none')(logits, y).shape == (7,)
    halves = StarCrossEntropy(stars=[k/2 for k in range(1, 11)])
    assert torch.isclose(halves(torch.randn(1, 10).zero_(), torch.tensor([3.5])), torch.tensor(10.).log())
    for bad in (0., 6., 2.5, float('nan')):
        with pytest.raises(ValueError, match='a rating of'): loss(logits[:1], torch.tensor([bad]))

def test_expected_stars():
    body = StarProduct(3, 4, n_stars=4)
    model,x = ExpectedStars(body, stars=(0, 1, 2, 3)),torch.tensor([[1, 2], [2, 1]])
    assert torch.allclose(model.probs(x).sum(1), torch.ones(2))
    assert torch.allclose(model(x), (body(x).softmax(1)*torch.arange(4.)).sum(1))
    for wrong in (body, CollabNet(3, 4)):
        with pytest.raises(ValueError, match='a logit for each of the stars'): ExpectedStars(wrong)(x)
    with pytest.raises(ValueError, match='n_stars must be at least 2, got 1'): StarProduct(3, 4, n_stars=1)

@pytest.mark.parametrize('p, depth', [
    ([.2]*5, 0), ([.5, .3, .2, 0, 0], 0), ([0, 0, .2, .3, .5], 0), ([.3, .1, .2, .1, .3], .2),
    ([.4, .05, .3, .05, .2], .25), ([.5, 0, 0, 0, .5], .5)])
def test_valley(p, depth): assert valley(torch.tensor([p])).item() == pytest.approx(depth, abs=1e-6)

def test_valley_refuses():
    with pytest.raises(ValueError, match=r'\(n, K\)'): valley(torch.ones(5))

def test_the_plain_loop_is_the_learner(table):
    dls = rating_dls(table, splits=random_split(table, seed=0), bs=32, device='cpu')
    made = [seeded(lambda: DotProductBias(dls.n_users, dls.n_items, 8)) for _ in range(2)]
    learn = Learner(dls, made[0], loss_func=MSELossFlat())
    set_seed(5, reproducible=True)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(4, 1e-2, wd=.2)
    set_seed(5, reproducible=True)
    error = fit_torch(made[1], dls.train, dls.valid, epochs=4, lr=1e-2, wd=.2)
    assert error == pytest.approx(learn.recorder.values[-1][1], abs=1e-3)     # other settings are off by more

def test_the_plain_loop_takes_pytorchs_loader(dls):
    rows = lambda dl: torch.utils.data.TensorDataset(dl.x, dl.y)
    train = torch.utils.data.DataLoader(rows(dls.train), batch_size=256, shuffle=True)
    valid = torch.utils.data.DataLoader(rows(dls.valid), batch_size=256)
    model = seeded(lambda: DotProductBias(dls.n_users, dls.n_items, 8))
    before = fit_torch(model, train, valid, epochs=1, lr=1e-6)
    assert fit_torch(model, train, valid, epochs=5) < before
    assert not model.training

def test_the_plain_loop_says_what_is_wrong(dls):
    stars = StarProduct(dls.n_users, dls.n_items)
    with pytest.raises(ValueError, match=r'the shape of the ratings, \(256,\), got \(256, 5\)'):
        fit_torch(stars, dls.train, dls.valid)
    plain = DotProductBias(dls.n_users, dls.n_items, 4, y_range=None)
    with pytest.raises(ValueError, match='try a learning rate below'): fit_torch(plain, dls.train, dls.valid, lr=1e30)

def test_settings_are_fastais(dls):
    learn = Learner(dls, DotProductBias(dls.n_users, dls.n_items, 2), loss_func=MSELossFlat())
    learn.create_opt()
    hypers = learn.opt.hypers[0]
    assert (ADAM['betas'][1], ADAM['eps']) == (hypers['sqr_mom'], hypers['eps'])
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(2, 1e-2)
    rates,momenta = (learn.recorder.hps[k] for k in ('lr', 'mom'))
    assert max(rates)/rates[0] == pytest.approx(CYCLE['div_factor'], rel=.01)
    assert momenta[0] == pytest.approx(CYCLE['max_momentum'])
    assert min(momenta) == pytest.approx(CYCLE['base_momentum'], abs=1e-3)

def test_five_stars_in_a_learner(table, dls):
    head = seeded(lambda: ExpectedStars(StarProduct(dls.n_users, dls.n_items, 8, 2)))
    learn = Learner(dls, head.body, loss_func=StarCrossEntropy())
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(4, 2e-2, wd=.1)
        probs,y,stars = learn.get_preds(with_decoded=True)
    assert probs.shape == (len(y), 5) and torch.allclose(probs.sum(1), torch.ones(len(y)), atol=1e-5)
    head.eval()
    with torch.no_grad(): assert torch.allclose(stars, torch.cat([head(x) for x,_ in dls.valid]), atol=1e-5)
    assert ((stars-y)**2).mean() < y.var()

def test_fastais_own_loader_will_do(table):
    d = CollabDataLoaders.from_df(table, item_name='movie', rating_name='rating', user_name='user', seed=0, bs=256,
                                  dl_type=TabDataLoader, device='cpu')
    model = StarProduct(len(d.classes['user']), len(d.classes['movie']), 8, 2)
    learn = Learner(d, model, loss_func=StarCrossEntropy())
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-2)
    assert learn.recorder.values[-1][1] < 2
