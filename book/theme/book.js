'use strict';
const one = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
const root = document.documentElement;

// ---- light and dark ----------------------------------------------------------------------------
const system = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => root.dataset.mode ? root.dataset.mode === 'dark' : system.matches;
const labelMode = () => { one('#mode').textContent = isDark() ? 'Light' : 'Dark'; };
one('#mode').onclick = () => {
  root.dataset.mode = isDark() ? 'light' : 'dark';
  try { localStorage.setItem('mode', root.dataset.mode); } catch (e) { /* only for this page, then */ }
  labelMode();
};
system.onchange = labelMode;
labelMode();

// ---- the contents on a phone -------------------------------------------------------------------
one('#menu').onclick = e => e.currentTarget.setAttribute('aria-expanded', one('#nav').classList.toggle('open'));

// ---- copy: of a terminal only the commands, of code no callouts --------------------------------
const copyable = pre => {
  const commands = all('.cmd', pre);
  if (commands.length) return commands.map(c => c.textContent).join('\n');
  if (one('code[data-lang=console]', pre)) return '';
  const copy = pre.cloneNode(true);
  all('.conum', copy).forEach(callout => callout.remove());
  return copy.textContent.replace(/\s*(\/\/|#)?[ \t]*$/gm, line => line.includes('\n') ? line.replace(/[^\n]/g, '') : '');
};
const copy = async text => {
  try {
    await navigator.clipboard.writeText(text);
  } catch (e) {   // some browsers give file:// no clipboard
    const area = make('textarea', { value: text });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
};
for (const pre of all('.listingblock pre')) {
  const text = copyable(pre);
  if (!text) continue;
  const what = one('.cmd', pre) ? (all('.cmd', pre).length > 1 ? 'Copy commands' : 'Copy command') : 'Copy';
  const button = make('button', { className: 'copy', type: 'button', textContent: what });
  button.onclick = async () => {
    await copy(text);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = what; }, 1500);
  };
  pre.parentElement.append(button);
}

// ---- what scrolls sideways can be reached with the keyboard ------------------------------------
const reachable = () => all('pre, .scroll').forEach(box => {
  if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
  else box.removeAttribute('tabindex');
});
addEventListener('resize', reachable);
addEventListener('toggle', reachable, true);
document.fonts.ready.then(reachable);

// ---- search: every word must begin a word of the place; titles weigh more ----------------------
const box = one('#search'), found = one('#found'), hits = one('#hits');
const words = text => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
let index = null;
const score = (place, wanted) => {
  let sum = 0;
  for (const word of wanted) {
    const begins = w => w.startsWith(word);
    const s = (place.page.some(begins) ? 8 : 0) + (place.title.some(begins) ? 6 : 0) + Math.min(5, place.text.filter(begins).length);
    if (!s) return 0;
    sum += s;
  }
  return sum;
};
const search = () => {
  index ||= BOOK_INDEX.map(([href, page, title, text]) => ({ href, names: [page, title], page: words(page), title: words(title), text: words(text) }));
  const wanted = words(box.value);
  const best = index.map(place => [score(place, wanted), place]).filter(([s]) => s).sort((a, b) => b[0] - a[0]).slice(0, 12);
  hits.replaceChildren(...best.map(([, place]) => {
    const link = make('a', { href: place.href, textContent: place.names[1] || place.names[0] });
    if (place.names[1]) link.append(make('small', { textContent: place.names[0] }));
    const item = make('li');
    item.append(link);
    return item;
  }));
  one('#count').textContent = best.length ? `${best.length === 12 ? 'The best 12 places' : best.length + (best.length === 1 ? ' place' : ' places')}` : 'Nothing found';
  found.hidden = !wanted.length;
};
box.oninput = search;
box.onfocus = () => { if (box.value) search(); };
const closeSearch = () => { found.hidden = true; };
document.addEventListener('click', e => { if (!e.target.closest('.find')) closeSearch(); });
document.addEventListener('keydown', e => {
  const typing = /^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (e.key === '/' && !typing && !e.ctrlKey && !e.metaKey && !e.altKey) {
    e.preventDefault();
    box.focus();
    box.select();
  } else if (e.key === 'Escape' && e.target.closest('.find')) {
    closeSearch();
    box.blur();
    document.activeElement.blur();
  }
});
one('.find').addEventListener('keydown', e => {
  const links = all('a', hits), at = links.indexOf(document.activeElement);
  if (e.key === 'ArrowDown' && links.length && !found.hidden) links[Math.min(at + 1, links.length - 1)].focus();
  else if (e.key === 'ArrowUp' && at >= 0) (at ? links[at - 1] : box).focus();
  else if (e.key === 'Enter' && at < 0 && links.length && !found.hidden) { location.href = links[0].href; closeSearch(); }
  else return;
  e.preventDefault();
});

// ---- which section is on the screen ------------------------------------------------------------
const entries = new Map(all('.toc a').map(a => [decodeURIComponent(a.hash.slice(1)), a]));
const observer = new IntersectionObserver(changes => {
  for (const change of changes) {
    if (!change.isIntersecting) continue;
    entries.forEach(a => a.removeAttribute('aria-current'));
    entries.get(change.target.id)?.setAttribute('aria-current', 'true');
  }
}, { rootMargin: '-70px 0px -70% 0px' });
entries.forEach((_, id) => { const heading = document.getElementById(id); if (heading) observer.observe(heading); });
one('.nav [aria-current]')?.scrollIntoView({ block: 'nearest' });
