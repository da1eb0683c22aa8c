// The script that inspects and controls a page. It runs in an isolated world: the scripts of the page can
// neither see it nor change what it uses. It waits for changes of the page instead of polling.
(() => {
  if (globalThis.atoll) return;

  const TEXT = 512 << 10, TREE = 48 << 10, LINES = 3000, NAME = 400;

  // Changes are counted, so that none is missed between a check and a wait.
  let changes = 0, turn = 0, wake = [];
  const bump = () => { changes += 1; const all = wake; wake = []; all.forEach(go => go()); };
  const observer = new MutationObserver(bump);
  const kinds = ['input', 'change', 'scroll', 'load', 'error', 'focus', 'blur', 'toggle', 'readystatechange', 'transitionend', 'animationend'];
  const watched = new WeakSet();
  const watch = root => {
    if (watched.has(root)) return;
    watched.add(root);
    observer.observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
    kinds.forEach(kind => root.addEventListener(kind, bump, { capture: true, passive: true }));
  };
  watch(document);
  ['resize', 'hashchange', 'popstate', 'load', 'pageshow'].forEach(kind => addEventListener(kind, bump));

  const task = () => new Promise(go => { const { port1, port2 } = new MessageChannel(); port1.onmessage = () => go(); port2.postMessage(0); });
  const frame = () => new Promise(go => { requestAnimationFrame(go); setTimeout(go, 100); });
  const next = mark => changes > mark ? frame() : new Promise(go => wake.push(go)).then(frame);

  // ---- state of elements

  const roots = () => {
    const found = [document];
    for (let at = 0; at < found.length; at += 1) {
      watch(found[at]);
      for (const e of found[at].querySelectorAll('*')) if (e.shadowRoot) found.push(e.shadowRoot);
    }
    return found;
  };
  const all = css => roots().flatMap(root => [...root.querySelectorAll(css)]);
  // Text as a person sees it: any white space is a space, and characters without width are ignored.
  const norm = text => (text || '').replace(/[\u00ad\u180e\u200b-\u200d\u2060\ufeff]/g, '').replace(/\s+/g, ' ').trim();
  const up = e => e.parentElement || (e.getRootNode() instanceof ShadowRoot ? e.getRootNode().host : null);
  const shown = e => e.checkVisibility({ visibilityProperty: true });
  const visible = e => shown(e) && [...e.getClientRects()].some(box => box.width > 0 && box.height > 0);
  const disabled = e => e.matches(':disabled') || !!e.closest('[aria-disabled="true"]');
  const heard = e => !e.closest('[aria-hidden="true"]') && shown(e);

  const INPUTS = { button: 'button', image: 'button', reset: 'button', submit: 'button', file: 'button', checkbox: 'checkbox', radio: 'radio', number: 'spinbutton', range: 'slider', search: 'searchbox', hidden: '' };
  const ROLES = {
    ARTICLE: 'article', ASIDE: 'complementary', BLOCKQUOTE: 'blockquote', BUTTON: 'button', CAPTION: 'caption', DATALIST: 'listbox', DD: 'definition',
    DETAILS: 'group', DIALOG: 'dialog', DT: 'term', FIELDSET: 'group', FIGURE: 'figure', H1: 'heading', H2: 'heading', H3: 'heading', H4: 'heading',
    H5: 'heading', H6: 'heading', HR: 'separator', IFRAME: 'iframe', LI: 'listitem', MAIN: 'main', MATH: 'math', MENU: 'list', METER: 'meter', NAV: 'navigation',
    OL: 'list', OPTGROUP: 'group', OPTION: 'option', OUTPUT: 'status', P: 'paragraph', PROGRESS: 'progressbar', SEARCH: 'search', SUMMARY: 'button',
    TABLE: 'table', TBODY: 'rowgroup', TD: 'cell', TEXTAREA: 'textbox', TFOOT: 'rowgroup', THEAD: 'rowgroup', TR: 'row', UL: 'list',
  };
  const CONTENT = new Set('button cell checkbox columnheader gridcell heading link menuitem menuitemcheckbox menuitemradio option radio row rowheader switch tab tooltip treeitem'.split(' '));
  const within = 'article, aside, main, nav, section';
  const role = e => {
    const written = (e.getAttribute('role') || '').trim().split(/\s+/)[0];
    if (written === 'none' || written === 'presentation') return '';
    if (written) return written;
    switch (e.tagName) {
      case 'A': case 'AREA': return e.hasAttribute('href') ? 'link' : '';
      case 'IMG': return e.getAttribute('alt') === '' ? '' : 'img';
      case 'INPUT': {
        const own = INPUTS[e.type];
        return own !== undefined && !(e.type === 'search' && e.list) ? own : e.list ? 'combobox' : 'textbox';
      }
      case 'SELECT': return e.multiple || e.size > 1 ? 'listbox' : 'combobox';
      case 'HEADER': return e.closest(within) ? '' : 'banner';
      case 'FOOTER': return e.closest(within) ? '' : 'contentinfo';
      case 'FORM': return e.hasAttribute('aria-label') || e.hasAttribute('aria-labelledby') ? 'form' : '';
      case 'SECTION': return e.hasAttribute('aria-label') || e.hasAttribute('aria-labelledby') ? 'region' : '';
      case 'TH': return e.scope === 'row' || e.scope === 'rowgroup' ? 'rowheader' : 'columnheader';
      case 'svg': return e.querySelector(':scope > title') ? 'img' : '';
      default: return ROLES[e.tagName] || '';
    }
  };

  // The text of an element as a part of an accessible name.
  const content = (e, deep = 0) => {
    if (deep > 50) return '';
    let text = '';
    for (const part of (e.shadowRoot || e).childNodes) {
      if (text.length > 2 * NAME) break;
      if (part.nodeType === Node.TEXT_NODE) text += part.data;
      if (part.nodeType !== Node.ELEMENT_NODE || /^(SCRIPT|STYLE|NOSCRIPT|TEMPLATE)$/.test(part.tagName) || !heard(part)) continue;
      const own = part.getAttribute('aria-label') || part.getAttribute('alt') || (/^(INPUT|SELECT|TEXTAREA)$/.test(part.tagName) ? name(part) : content(part, deep + 1));
      text += getComputedStyle(part).display.startsWith('inline') ? own : ` ${own} `;
    }
    return text;
  };
  const first = (...ways) => { for (const way of ways) { const text = norm(way()); if (text) return text.slice(0, NAME); } return ''; };
  const child = (e, css) => { const found = e.querySelector(`:scope > ${css}`); return found ? content(found) : ''; };
  const name = e => first(
    () => (e.getAttribute('aria-labelledby') || '').split(/\s+/).filter(Boolean).map(id => e.getRootNode().getElementById(id)).filter(Boolean).map(other => other.getAttribute('aria-label') || content(other)).join(' '),
    () => e.getAttribute('aria-label'),
    () => {
      switch (e.tagName) {
        case 'INPUT':
          if (/^(button|reset|submit)$/.test(e.type)) return e.value || { reset: 'Reset', submit: 'Submit' }[e.type];
          if (e.type === 'image') return e.alt;
      }
      if (e.labels && e.labels.length) return [...e.labels].map(label => label === e.closest('label') ? own(label, e) : content(label)).join(' ');
      switch (e.tagName) {
        case 'IMG': case 'AREA': return e.alt;
        case 'FIELDSET': return child(e, 'legend');
        case 'TABLE': return child(e, 'caption');
        case 'FIGURE': return child(e, 'figcaption');
        case 'OPTGROUP': return e.label;
        case 'OPTION': return e.label;
        case 'svg': return child(e, 'title');
      }
      return '';
    },
    () => CONTENT.has(role(e)) ? content(e) : '',
    () => e.getAttribute('title'),
    () => e.getAttribute('placeholder'),
  );
  // The text of a label without that of its field.
  const own = (label, field) => [...label.childNodes].map(part => part === field ? '' : part.nodeType === Node.TEXT_NODE ? part.data : part.nodeType === Node.ELEMENT_NODE && !part.contains(field) && heard(part) ? ` ${content(part)} ` : '').join('');

  const worded = (text, wanted, exact) => exact ? text === norm(wanted) : text.toLowerCase().includes(norm(wanted).toLowerCase());
  const find = selector => {
    if (selector.css !== undefined) {
      try { return all(selector.css); } catch { throw `\`${selector.css}\` is not a CSS selector`; }
    }
    if (selector.role !== undefined) {
      return all('*').filter(e => role(e) === selector.role && heard(e) && (selector.name === null || worded(name(e), selector.name, selector.exact)));
    }
    const says = e => worded(norm(/^(BUTTON|SUBMIT|RESET)$/i.test(e.type) && e.tagName === 'INPUT' ? e.value : e.textContent), selector.text, selector.exact);
    const able = all('*').filter(e => !/^(HTML|HEAD|TITLE|SCRIPT|STYLE|NOSCRIPT|TEMPLATE)$/.test(e.tagName) && says(e));
    const outer = new Set(able.map(up));
    return able.filter(e => !outer.has(e) && shown(e));
  };
  const one = found => found.find(visible) || found[0];
  const tag = e => `<${e.tagName.toLowerCase()}${e.id ? ` id="${e.id}"` : ''}${typeof e.className === 'string' && e.className ? ` class="${e.className.slice(0, 60)}"` : ''}>`;

  // ---- waiting

  let reason = '';
  // Calls `look` until it returns something. A later call ends earlier ones.
  const until = async look => {
    const mine = turn += 1;
    for (;;) {
      const mark = changes;
      const seen = await look();
      if (mine !== turn) throw 'it was replaced by a later call';
      if (seen !== undefined) return seen;
      await next(mark);
    }
  };
  const no = why => { reason = why; };

  const box = e => { const { x, y, width, height } = e.getBoundingClientRect(); return `${x} ${y} ${width} ${height}`; };
  const still = async e => {
    for (;;) {
      const before = box(e);
      await frame();
      if (!e.isConnected || box(e) === before) return;
      no('it keeps moving');
    }
  };
  const point = e => {
    for (const { left, top, right, bottom, width, height } of e.getClientRects()) {
      if (!width || !height) continue;
      const [l, t, r, b] = [Math.max(left, 0), Math.max(top, 0), Math.min(right, innerWidth), Math.min(bottom, innerHeight)];
      if (r > l && b > t) return { x: (l + r) / 2, y: (t + b) / 2 };
    }
    return undefined;
  };
  const hit = ({ x, y }) => { let e = document.elementFromPoint(x, y); while (e && e.shadowRoot) { const inner = e.shadowRoot.elementFromPoint(x, y); if (!inner || inner === e) break; e = inner; } return e; };
  const reaches = (e, at) => { for (let up_ = at; up_; up_ = up(up_)) if (up_ === e) return true; const label = at && at.closest('label'); return !!label && label.control === e; };

  // The element once it is ready: present, visible, not moving, enabled, and not covered if it must be `hit`.
  const usable = (selector, wants) => until(async () => {
    const found = find(selector);
    const e = one(found);
    if (!e) return no('nothing matches it');
    if (!visible(e)) return no(found.length > 1 ? `none of its ${found.length} matches is visible` : 'it is not visible');
    if (wants.enabled && disabled(e)) return no('it is disabled');
    if (wants.editable && e.readOnly) return no('it is read-only');
    await still(e);
    if (!e.isConnected || !visible(e)) return no('it keeps appearing and disappearing');
    e.scrollIntoView({ block: 'nearest', inline: 'nearest', behavior: 'instant' });
    let at = point(e);
    if (at && !reaches(e, hit(at))) { e.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' }); at = point(e); }
    if (!at) return no('it is outside the visible area');
    if (wants.hit) {
      const over = hit(at);
      if (!reaches(e, over)) return no(over ? `it is covered by ${tag(over)}` : 'it does not receive the click');
    }
    return { e, at };
  });

  const checked = e => e.tagName === 'LABEL' && e.control ? checked(e.control) : e.type === 'checkbox' || e.type === 'radio' ? e.checked : e.getAttribute('aria-checked') === 'true';
  const tell = e => ['input', 'change'].forEach(kind => e.dispatchEvent(new Event(kind, { bubbles: true, composed: true })));

  // ---- the answer

  const level = e => e.getAttribute('aria-level') || (/^H[1-6]$/.exec(e.tagName) ? e.tagName[1] : '');
  const states = e => {
    const list = [];
    const flag = (word, on) => { if (on) list.push(`[${word}]`); };
    const heading = role(e) === 'heading' && level(e);
    if (heading) list.push(`[level=${heading}]`);
    flag('checked', /^(checkbox|radio|switch|menuitemcheckbox|menuitemradio)$/.test(role(e)) && checked(e));
    flag('disabled', disabled(e));
    flag('expanded', e.getAttribute('aria-expanded') === 'true' || (e.tagName === 'DETAILS' && e.open));
    flag('pressed', e.getAttribute('aria-pressed') === 'true');
    flag('selected', e.getAttribute('aria-selected') === 'true' || (e.tagName === 'OPTION' && e.selected));
    flag('invalid', e.getAttribute('aria-invalid') === 'true');
    flag('current', e.hasAttribute('aria-current') && e.getAttribute('aria-current') !== 'false');
    flag('focused', e === document.activeElement && e !== document.body);
    return list.map(state => ` ${state}`).join('');
  };
  const value = e => {
    if (e.tagName === 'SELECT') return [...e.selectedOptions].map(option => norm(option.label)).join(', ');
    if (e.tagName === 'TEXTAREA') return e.value;
    if (e.tagName === 'INPUT') return /^(button|checkbox|hidden|image|radio|reset|submit)$/.test(e.type) ? '' : e.type === 'password' ? '•'.repeat(e.value.length) : e.value;
    return e.getAttribute('aria-valuetext') || e.getAttribute('aria-valuenow') || '';
  };
  const link = e => { const href = e.getAttribute('href'); return e.tagName === 'A' && href ? ` -> ${e.href.slice(0, 300)}` : ''; };

  const tree = (top, cut) => {
    const lines = [];
    let size = 0, over = false, loose = '';
    const put = (depth, line) => {
      if (size > TREE || lines.length >= LINES) { over = true; return; }
      const full = `${'  '.repeat(Math.min(depth, 30))}- ${line}`;
      size += full.length; lines.push(full);
    };
    const flush = depth => { const text = norm(loose); loose = ''; if (text) put(depth, `text: ${text.slice(0, 2000)}`); };
    const walk = (e, depth, quiet) => {
      if (over) return;
      if (/^(SCRIPT|STYLE|NOSCRIPT|TEMPLATE|HEAD)$/.test(e.tagName) || e.getAttribute('aria-hidden') === 'true') return;
      const contents = getComputedStyle(e).display === 'contents';
      if (!contents && !shown(e) && !(e.tagName === 'OPTION')) { if (getComputedStyle(e).display === 'none') return; }
      const kind = shown(e) || contents ? role(e) : '';
      let deeper = depth, silent = quiet;
      if (kind && kind !== 'paragraph' && kind !== 'rowgroup') {
        flush(depth);
        const words = kind === 'row' ? '' : name(e), holds = norm(value(e)).slice(0, 2000);
        put(depth, `${kind}${words ? ` ${JSON.stringify(words)}` : ''}${states(e)}${holds ? `: ${holds}` : ''}${link(e)}`);
        if (e.tagName === 'SELECT' && !e.multiple && e.size < 2 || e.tagName === 'TEXTAREA') return;
        deeper += 1; silent = CONTENT.has(kind) && kind !== 'row';
      }
      const block = !kind && !getComputedStyle(e).display.startsWith('inline') || kind === 'paragraph';
      if (block && !contents) flush(deeper);
      const parts = e.tagName === 'SLOT' && e.assignedNodes().length ? e.assignedNodes() : (e.shadowRoot || e).childNodes;
      for (const part of parts) {
        if (over) break;
        if (part.nodeType === Node.ELEMENT_NODE) walk(part, deeper, silent);
        else if (part.nodeType === Node.TEXT_NODE && !silent && loose.length < 4000 && shown(e)) loose += part.data;
      }
      if (kind && kind !== 'paragraph' && kind !== 'rowgroup' || block) flush(deeper); else if (e.tagName === 'BR') loose += ' ';
    };
    if (top) walk(top, 0, false);
    flush(0);
    if (over) { lines.push('… more left out …'); cut.push('tree'); }
    return lines.join('\n');
  };

  const clip = (word, text, cut) => {
    if (text === null || text.length <= TEXT) return text;
    cut.push(word);
    return `${text.slice(0, TEXT / 2)}\n… ${text.length - TEXT} characters left out …\n${text.slice(-TEXT / 2)}`;
  };

  globalThis.atoll = {
    // Resolves when the current tasks and a frame are done.
    tick: async () => { await task(); await frame(); await task(); return changes; },
    loaded: () => until(async () => document.readyState === 'complete' ? true : no('it is loading')),
    next: async mark => { await next(mark); return changes; },
    reason: () => reason,
    ready: async (selector, wants) => { const { e, at } = await usable(selector, wants); return { ...at, checked: checked(e) }; },
    // A point at which it can be clicked now.
    at: selector => { const e = one(find(selector)), at = e && visible(e) && point(e); return at && reaches(e, hit(at)) ? at : {}; },
    // Focuses a field and selects its content.
    focus: async (selector, wants) => {
      const { e } = await usable(selector, wants);
      e.focus();
      if (!wants.editable) return true;
      if (e.isContentEditable) { getSelection().selectAllChildren(e); return true; }
      if (e.tagName === 'TEXTAREA') { e.select(); return true; }
      if (e.tagName !== 'INPUT') throw `${tag(e)} cannot be filled${e.tagName === 'SELECT' ? ': use \`select\` to choose an option' : ''}`;
      if (/^(button|checkbox|file|image|radio|reset|submit|hidden)$/.test(e.type)) throw `an input of type ${e.type} cannot be filled`;
      if (/^(color|date|datetime-local|month|range|time|week)$/.test(e.type)) {
        e.value = wants.value; tell(e);
        if (e.value !== wants.value) throw `an input of type ${e.type} does not accept \`${wants.value}\``;
        return false;
      }
      e.select();
      return true;
    },
    choose: (selector, wanted) => until(async () => {
      const e = one(find(selector));
      if (!e) return no('nothing matches it');
      if (e.tagName !== 'SELECT') throw `${tag(e)} has no options to select from`;
      if (!visible(e)) return no('it is not visible');
      if (disabled(e)) return no('it is disabled');
      const options = [...e.options];
      const option = options.find(o => o.value === wanted) || options.find(o => norm(o.label) === norm(wanted));
      if (!option) return no(`it has no option \`${wanted}\`; its options are ${options.slice(0, 20).map(o => `\`${norm(o.label)}\``).join(', ') || 'none'}`);
      if (option.disabled) return no(`its option \`${wanted}\` is disabled`);
      if (e.multiple) option.selected = true; else e.selectedIndex = option.index;
      e.focus(); tell(e);
      return true;
    }),
    // A visible frame. Clears the reason, so that later waits inside it report their own.
    frame: async selector => {
      const e = await until(async () => {
        const found = one(find(selector));
        if (!found) return no('nothing matches it');
        if (!/^I?FRAME$/.test(found.tagName)) throw `${tag(found)} is not a frame`;
        return visible(found) ? found : no('it is not visible');
      });
      no('');
      return e;
    },
    inset: selector => {
      const e = one(find(selector));
      if (!e) return {};
      const { left, top } = e.getBoundingClientRect(), style = getComputedStyle(e);
      return { x: left + e.clientLeft + parseFloat(style.paddingLeft), y: top + e.clientTop + parseFloat(style.paddingTop) };
    },
    upload: (selector, files) => until(async () => {
      const named = one(find(selector)), e = named && named.tagName === 'LABEL' && named.control || named;
      if (!e) return no('nothing matches it');
      if (e.tagName !== 'INPUT' || e.type !== 'file') throw `${tag(e)} is not a file field`;
      if (disabled(e)) return no('it is disabled');
      if (files.length > 1 && !e.multiple) throw `${tag(e)} accepts only one file`;
      const held = new DataTransfer();
      for (const { filename, type, base64 } of files) held.items.add(new File([Uint8Array.from(atob(base64), c => c.charCodeAt(0))], filename, { type }));
      e.files = held.files;
      tell(e);
      return true;
    }),
    checked: selector => { const e = one(find(selector)); return !!e && checked(e); },
    wait: goal => until(async () => {
      if (goal.url !== null && !location.href.includes(goal.url)) return no(`the page is at ${location.href}`);
      const found = goal.selector ? find(goal.selector) : [];
      const seen = found.some(visible);
      if (goal.selector && goal.hidden && seen) return no('it is still visible');
      if (goal.selector && !goal.hidden && goal.count === null && goal.text_absent === null && !seen) return no(found.length ? 'it is not visible' : 'nothing matches it');
      if (goal.count !== null && found.length !== goal.count) return no(`${found.length} match`);
      const text = () => goal.selector ? found.map(e => e.innerText || '').join('\n') : document.body ? document.body.innerText : '';
      const says = wanted => norm(wanted) ? norm(text()).includes(norm(wanted)) : text().includes(wanted);
      if (goal.text !== null && !says(goal.text)) return no(`the text \`${goal.text}\` is missing`);
      if (goal.text_absent !== null && says(goal.text_absent)) return no(`the text \`${goal.text_absent}\` is still present`);
      return true;
    }),
    see: (selector, whole) => {
      const mark = changes, cut = [];
      const found = selector ? find(selector) : [];
      const e = whole ? null : found[0];
      const body = document.body || document.documentElement;
      const text = whole ? (body && (body.innerText ?? body.textContent)) || '' : e ? e.innerText ?? e.textContent : null;
      const html = whole ? document.documentElement?.outerHTML ?? '' : e ? e.outerHTML : null;
      const field = one(found);
      return {
        mark, cut, url: location.href, title: document.title,
        text: clip('text', text, cut), html: clip('html', html, cut),
        value: field && 'value' in field && typeof field.value === 'string' ? field.value : null,
        visible: selector ? found.some(visible) : null,
        count: selector ? found.length : null,
        tree: tree(whole || !e ? document.body : e, cut),
      };
    },
  };
})();
