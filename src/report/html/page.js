// Timelines: zoom, and walking from event to event. Without it, everything is shown all the same.
'use strict';
for (const figure of document.querySelectorAll('figure.timeline')) {
  const plot = figure.querySelector('.plot'), tools = figure.querySelector('.tools');
  const told = figure.querySelector('.told'), axis = figure.querySelector('.axis');
  const all = [Number(figure.dataset.from), Number(figure.dataset.to)];
  const events = [...figure.querySelectorAll('.ev')].sort((a, b) => a.dataset.a - b.dataset.a);
  const bottom = axis.querySelector('line') ? axis.querySelector('line').getAttribute('y2') : '100';
  const LEFT = 130, RIGHT = 980;
  let [from, to] = all, at = -1;
  tools.hidden = false;

  const x = ms => LEFT + (ms - from) / (to - from) * (RIGHT - LEFT);
  const words = ms => {
    if (Math.abs(ms) < 1e-9) return '0';
    const size = Math.abs(ms), sign = ms < 0 ? '-' : '+';
    return sign + (size >= 1000 ? size / 1000 + ' s' : size >= 1 ? +size.toFixed(3) + ' ms' : +(size * 1000).toFixed(1) + ' µs');
  };
  const visible = (element, is) => { element.style.display = is ? '' : 'none'; };

  function drawAxis() {
    const least = (to - from) / 7, magnitude = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map(n => n * magnitude).find(n => n >= least * 0.999);
    const svg = (name, attributes, text) => {
      const element = document.createElementNS('http://www.w3.org/2000/svg', name);
      for (const key in attributes) element.setAttribute(key, attributes[key]);
      if (text) element.textContent = text;
      return element;
    };
    axis.replaceChildren();
    for (let n = Math.ceil(from / step); n <= Math.floor(to / step); n++) {
      const tick = svg('g', { class: 'tick' }), where = x(n * step);
      tick.append(svg('line', { x1: where, x2: where, y1: 28, y2: bottom }),
        svg('text', { x: where, y: bottom, dy: 15 }, words(n * step)));
      axis.append(tick);
    }
  }

  function draw() {
    for (const event of events) {
      const a = Number(event.dataset.a), b = event.dataset.b === undefined ? a : Number(event.dataset.b);
      visible(event, b >= from && a <= to);
      const left = Math.max(LEFT, x(a));
      event.setAttribute('x', left);
      if (event.dataset.b !== undefined) event.setAttribute('width', Math.max(0.8, Math.min(RIGHT, x(b)) - left));
    }
    for (const line of figure.querySelectorAll('.vertical')) {
      const where = Number(line.dataset.a);
      visible(line, where >= from && where <= to);
      for (const part of line.children) for (const name of part.tagName === 'line' ? ['x1', 'x2'] : ['x']) part.setAttribute(name, x(where));
    }
    drawAxis();
  }

  function zoom(factor, around) {
    const span = Math.min((to - from) * factor, all[1] - all[0]);
    from = Math.max(all[0], around - (around - from) / (to - from) * span);
    to = Math.min(all[1], from + Math.max(span, 0.02));
    from = Math.max(all[0], to - Math.max(span, 0.02));
    draw();
  }

  function tell(n) {
    if (at >= 0) events[at].classList.remove('on');
    at = n;
    const event = events[at];
    event.classList.add('on');
    told.hidden = false;
    told.querySelector('p').textContent = event.querySelector('title').textContent;
    told.querySelector('pre').textContent = event.dataset.raw;
  }

  function shown(n) {
    const a = Number(events[n].dataset.a), b = Number(events[n].dataset.b ?? a), span = to - from;
    if (b >= from && a <= to) return;
    from = Math.min(Math.max(all[0], a - span / 2), all[1] - span);
    to = from + span;
    draw();
  }

  plot.addEventListener('keydown', key => {
    const centre = at >= 0 ? Number(events[at].dataset.a) : 0;
    const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (key.key in moves && events.length) {
      const next = Math.min(events.length - 1, Math.max(0, at < 0 ? 0 : at + moves[key.key]));
      shown(next);
      tell(next);
    } else if (key.key === 'Home' && events.length) { shown(0); tell(0); }
    else if (key.key === 'End' && events.length) { shown(events.length - 1); tell(events.length - 1); }
    else if (key.key === '+' || key.key === '=') zoom(0.5, centre);
    else if (key.key === '-') zoom(2, centre);
    else return;
    key.preventDefault();
  });
  for (const [n, event] of events.entries()) {
    event.addEventListener('mouseenter', () => tell(n));
    event.addEventListener('click', () => tell(n));
  }
  tools.addEventListener('click', click => {
    const kind = click.target.dataset.zoom, middle = (from + to) / 2;
    if (kind === 'in') zoom(0.5, at >= 0 ? Number(events[at].dataset.a) : middle);
    if (kind === 'out') zoom(2, middle);
    if (kind === 'all') { [from, to] = all; draw(); }
    if (kind === 'signal') { const span = Math.min(20, all[1] - all[0]); from = Math.max(all[0], -span / 4); to = from + span; draw(); }
  });
}
