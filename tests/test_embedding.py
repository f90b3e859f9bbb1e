"The table of chapter 06 beside PyTorch's and fastai's."
import copy

import numpy as np
import pytest
import torch
from fastai import layers
from fastai.collab import set_seed
from torch import nn

from collab_nb.bias import DotProductBias
from collab_nb.embedding import Embedding

@pytest.mark.parametrize('shape', [(), (7,), (3, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize('dtype', [torch.int64, torch.int32])
def test_rows_of_any_shape(shape, dtype):
    set_seed(0)
    ours,theirs = Embedding(11, 4),nn.Embedding(11, 4)
    theirs.load_state_dict(ours.state_dict())
    idx = torch.randint(0, 11, shape).to(dtype)
    assert ours(idx).shape == (*shape, 4)
    assert torch.equal(ours(idx), theirs(idx))

@pytest.mark.parametrize('other', [nn.Embedding, layers.Embedding])
def test_weights_go_both_ways_and_gradients_agree(other):
    set_seed(1)
    ours,theirs = Embedding(30, 6),other(30, 6)
    ours.load_state_dict(theirs.state_dict())
    assert [k for k,_ in ours.named_parameters()] == [k for k,_ in theirs.named_parameters()] == ['weight']
    idx,grad = torch.randint(0, 20, (500,)),torch.randn(500, 6)
    for e in (ours, theirs): e(idx).backward(gradient=grad)
    assert torch.allclose(ours.weight.grad, theirs.weight.grad, atol=1e-5)
    by_loop = torch.zeros(30, 6)
    for i,g in zip(idx, grad, strict=True): by_loop[i] += g
    assert torch.allclose(ours.weight.grad, by_loop, atol=1e-5)
    assert not ours.weight.grad[20:].any()

def test_starts_as_fastais_does():
    set_seed(2)
    ours,theirs = (e(2000, 50, std=0.3).weight.detach() for e in (Embedding, layers.Embedding))
    assert ours.abs().max() <= 0.6 and ours.std().item() == pytest.approx(theirs.std().item(), rel=0.02)
    assert not Embedding(3, 2, std=0).weight.any()

def test_in_the_model():
    model = DotProductBias(np.int64(5), 7, 3, embedding=Embedding)
    stock = DotProductBias(5, 7, 3)
    stock.load_state_dict(model.state_dict())
    x = torch.tensor([[1, 2], [4, 6], [1, 6]])
    assert torch.equal(model(x), stock(x))
    assert torch.equal(copy.deepcopy(model)(x), stock(x))

@pytest.mark.parametrize('args, why', [
    ((0, 3), 'n must be a whole number, 1 or more, got 0'),
    ((-1, 3), 'n must .* got -1'), ((True, 3), 'n must .* got True'),
    ((2., 3), 'n must .* got 2.0'), ((2, 'a'), "d must .* got 'a'"), ((2, None), 'd must .* got None'),
    ((2, 3, -1.), 'std must be a number, 0 or more, got -1.0'), ((2, 3, float('nan')), 'std must .* got nan'),
    ((2, 3, float('inf')), 'std must .* got inf')])
def test_refuses_sizes(args, why):
    with pytest.raises(ValueError, match=why): Embedding(*args)

@pytest.mark.parametrize('idx, why', [
    (torch.tensor([0, -1]), 'codes must be 0 to 3, rows of the table, got -1'),
    (torch.tensor([[1, 4]]), 'codes must be 0 to 3, .* got 4'),
    (torch.tensor([1.]), 'int64 or int32, got torch.float32'),
    (torch.tensor([True]), 'got torch.bool'), (torch.tensor([1], dtype=torch.uint8), 'got torch.uint8'),
    ([1], 'got list'), (2, 'got int')])
def test_refuses_codes(idx, why):
    with pytest.raises(ValueError, match=why): Embedding(4, 2)(idx)
