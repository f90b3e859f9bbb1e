start('lookup_rows', (root, {names, table, ids, most}) => {
  const first = [...ids];
  const state = root.live = {ids, gradient: []};
  const say = speaker(root);
  const n = names.length;

  // A table of cells [text, class], with a header for each row
  const fill = (part, heads, rows) => {
    find(root, part).replaceChildren(...rows.map((cells, i) => make('tr', {},
      ...(heads ? [heads(i)] : []),
      ...cells.map(([text, kind]) => make('td', kind ? {class: kind} : {}, text)))));
  };
  const named = i => make('th', {scope: 'row'}, names[i]);

  const chooser = i => {
    const input = make('input', {type: 'number', min: 0, max: n - 1, step: 1, value: state.ids[i],
                                 'aria-label': `Id ${i + 1} of the batch`});
    input.addEventListener('input', () => {
      const id = input.valueAsNumber;
      const valid = Number.isInteger(id) && id >= 0 && id < n;
      input.setAttribute('aria-invalid', !valid);
      if (!valid) return;
      state.ids[i] = id;
      update();
    });
    const drop = make('button', {type: 'button', 'aria-label': `Remove id ${i + 1}, ${names[state.ids[i]]}`}, '✕');
    drop.disabled = state.ids.length < 2;
    drop.addEventListener('click', () => {
      state.ids.splice(i, 1);
      draw();
      root.querySelectorAll('input')[Math.min(i, state.ids.length - 1)].focus();
    });
    return make('th', {scope: 'row'}, input, ' ', drop);
  };

  const update = () => {
    const {ids} = state;
    const atOutput = ids.map((_, i) => table[0].map((_, k) => (k + 1)*10**i));
    // what comes back to a row of the table is the sum over its places in the batch
    const summed = (row, k) => sum(ids.map((id, i) => id === row ? atOutput[i][k] : 0));
    state.gradient = names.map((_, row) => table[0].map((_, k) => summed(row, k)));
    const hot = id => names.map((_, j) => j === id ? ['1', 'cnb-hot'] : ['0', 'cnb-cold']);
    const count = row => ids.filter(id => id === row).length;
    const touched = row => count(row) ? 'cnb-hot' : 'cnb-cold';
    // the batch's own inputs keep the focus: only the cells behind them change
    [...find(root, 'onehot').rows].forEach((tr, i) => {
      hot(ids[i]).forEach(([text, kind], j) => Object.assign(tr.cells[j + 1], {textContent: text, className: kind}));
      tr.querySelector('button').setAttribute('aria-label', `Remove id ${i + 1}, ${names[ids[i]]}`);
    });
    fill('table', named, table.map((row, j) => row.map(value => [fixed(value), touched(j)])));
    fill('rows', i => named(ids[i]), ids.map(id => table[id].map(value => [fixed(value), 'cnb-hot'])));
    fill('turned', named, names.map((_, j) => ids.map(id => id === j ? ['1', 'cnb-hot'] : ['0', 'cnb-cold'])));
    fill('output', i => named(ids[i]), atOutput.map(row => row.map(value => [String(value), ''])));
    fill('gradient', named, state.gradient.map((row, j) => row.map(value => [String(value), touched(j)])));
    const several = names.map((name, j) => [name, count(j)]).filter(([, times]) => times > 1);
    const zero = names.filter((_, j) => !count(j)).length;
    const repeats = several.map(([name, times]) =>
      `${name} comes ${times === 2 ? "twice" : times + " times"}, so its row gets the sum of ${times} gradients. `);
    const text = `${repeats.join('')}${zero} of the ${n} rows weren't asked for: their gradient is 0.`;
    write(root, 'verdict', text);
    say(`The batch: ${ids.map(id => names[id]).join(', ')}. ${text}`);
  };

  const draw = () => {
    fill('onehot', chooser, state.ids.map(() => names.map(() => ['0', ''])));
    root.querySelectorAll('[data-add]').forEach(button => { button.disabled = state.ids.length >= most; });
    update();
  };

  root.querySelectorAll('[data-add]').forEach(button => button.addEventListener('click', () => {
    state.ids.push(Number(button.dataset.add));
    draw();
  }));
  find(root, 'reset').addEventListener('click', () => {
    state.ids = [...first];
    draw();
  });
  draw();
});
