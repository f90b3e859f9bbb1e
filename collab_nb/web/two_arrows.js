start('two_arrows', (root, {tips, labels, axes, words, unit, middle}) => {
  const first = structuredClone(tips);
  const plane = root.querySelector('svg');
  const say = speaker(root);

  const verdict = (dot, lengths, cosine) => {
    if (Math.min(...lengths) < .01) return words.none;
    if (Math.abs(cosine) < .1) return words.nothing;
    const short = Math.min(...lengths) < .4 ? words.short : '';
    return (cosine > 0 ? words.agree : words.disagree) + short;
  };

  // Beyond the tip, as seen from the origin, and the user's name beyond the movie's if the tips are close
  const nameAt = who => {
    const [x, y] = tips[who], other = tips[who === 'user' ? 'movie' : 'user'];
    const side = y < 0 ? 1 : -1;
    const close = who === 'user' && Math.abs(x - other[0]) < .6 && Math.abs(y - other[1]) < .3
                  && side === (other[1] < 0 ? 1 : -1);
    const dy = (close ? side*32 - unit*(other[1] - y) : side*18) + (side > 0 ? 8 : 0);
    return {'text-anchor': x < -.3 ? 'start' : x > .3 ? 'end' : 'middle', dy};
  };

  const moveArrow = who => {
    const [x, y] = tips[who];
    const at = `translate(${middle + unit*x} ${middle - unit*y})`;
    set(find(root, `${who}-line`), {x2: middle + unit*x, y2: middle - unit*y});
    set(find(root, `${who}-head`), {transform: `${at} rotate(${Math.atan2(-y, x)*180/Math.PI})`});
    set(find(root, `${who}-name`), {transform: at, ...nameAt(who)});
    set(find(root, `${who}-tip`), {
      transform: at, 'aria-valuenow': x.toFixed(2),
      'aria-valuetext': `${axes[0]} ${fixed(x)}, ${axes[1]} ${fixed(y)}`});
  };

  const update = () => {
    const {user, movie} = tips;
    const terms = user.map((u, k) => u*movie[k]);
    const dot = sum(terms);
    const lengths = [Math.hypot(...user), Math.hypot(...movie)];
    const cosine = dot/(lengths[0]*lengths[1]);
    for (const who of ['user', 'movie']) {
      moveArrow(who);
      tips[who].forEach((value, k) => write(root, `${who}-${k}`, fixed(value)));
    }
    lengths.forEach((length, i) => write(root, `length-${i}`, fixed(length)));
    terms.forEach((term, k) => write(root, `term-${k}`, fixed(term)));
    write(root, 'dot', fixed(dot));
    write(root, 'sum', user.map((u, k) => `${fixed(u)} × ${fixed(movie[k])}`).join(' + ') + ` = ${fixed(dot)}`);
    const known = Number.isFinite(cosine);
    write(root, 'cosine', `${fixed(dot)} / (${fixed(lengths[0])} × ${fixed(lengths[1])})`
                          + (known ? ` = ${fixed(cosine)}` : ': not defined'));
    write(root, 'verdict', verdict(dot, lengths, cosine));
    set(find(root, 'side'), {transform: `rotate(${Math.atan2(-user[1], user[0])*180/Math.PI})`});
    const said = find(root, 'verdict').textContent;
    say(`Dot product ${fixed(dot)}, cosine ${known ? fixed(cosine) : 'not defined'}. ${said}`);
  };

  const move = (who, x, y) => {
    tips[who] = [x, y].map(value => clamp(Math.round(100*value)/100, -1, 1));
    update();
  };

  const place = event => {
    const box = plane.getBoundingClientRect();
    const scale = 2*middle/box.width;
    return [((event.clientX - box.left)*scale - middle)/unit, (middle - (event.clientY - box.top)*scale)/unit];
  };
  // Two tips may lie on top of each other: the one that's nearer is meant
  const nearer = ([x, y]) => {
    const far = who => Math.hypot(x - tips[who][0], y - tips[who][1]);
    return far('movie') < far('user') ? 'movie' : 'user';
  };

  for (const who of ['user', 'movie']) {
    const handle = find(root, `${who}-tip`);
    set(handle, {role: 'slider', tabindex: 0, 'aria-label': `Tip of the arrow of ${labels[who]}`,
                 'aria-valuemin': -1, 'aria-valuemax': 1});
    handle.addEventListener('pointerdown', event => {
      const meant = find(root, `${nearer(place(event))}-tip`);
      meant.setPointerCapture(event.pointerId);
      event.preventDefault();
      meant.focus({preventScroll: true});
    });
    // a finger on a tip doesn't scroll the page; browsers differ on `touch-action` inside a drawing
    handle.addEventListener('touchstart', event => event.preventDefault(), {passive: false});
    handle.addEventListener('pointermove', event => {
      if (handle.hasPointerCapture(event.pointerId)) move(who, ...place(event));
    });
    handle.addEventListener('keydown', event => {
      const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1]}[event.key];
      if (!way) return;
      event.preventDefault();
      const step = event.shiftKey ? .2 : .05;
      move(who, tips[who][0] + step*way[0], tips[who][1] + step*way[1]);
    });
  }
  find(root, 'reset').addEventListener('click', () => {
    Object.assign(tips, structuredClone(first));
    update();
  });
  set(plane, {role: 'group'});
  update();
});
