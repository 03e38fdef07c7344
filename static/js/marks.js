// Marks on hits: good ones, bad ones, and what came into sight. They are kept for each
// search in this tab; refine.js makes rounds of them.

import { find, findAll, heed, tell } from './dom.js'
import { hits, isUnsafe } from './hits.js'

const MOST_SEEN = 5_000
const PULLS = { '-2': 'gentle', '-1': 'mild', 0: 'balanced', 1: 'strong', 2: 'strongest' }

export const bar = find('#refine')
const MOST = Number(bar.dataset.most)
export const slider = find('.strength input', bar)
export const marks = new Map() // id → whether it is good, in the order in which they were given
export const search = { address: null, refined: false } // the one whose marks these are
export const seen = new Set() // ids that came into sight

/** The address of the results, also while a panel over them has put its own there. */
export const address = () => window.history.state?.results ?? location.pathname + location.search
export const asked = () => new URL(address(), location.href).searchParams
export const dataset = () => hits()[0]?.dataset.dataset ?? asked().get('dataset') ?? ''
export const isSearch = () => Boolean(find('#results') && !find('#results.start'))
export const ids = (good) => [...marks].filter(([, is]) => is === good).map(([id]) => id)

// -- what is kept for each search in this tab

export function read (of) {
  try {
    return JSON.parse(sessionStorage.getItem(`refine:${of}`))
  } catch {
    return null
  }
}

export const state = () => ({
  marks: [...marks],
  pull: slider.value,
  seen: [...seen],
  refined: search.refined
})

export function keep (of = search.address, what = state()) {
  try {
    sessionStorage.setItem(`refine:${of}`, JSON.stringify(what))
  } catch {
    // Storage is full or forbidden: marks then last as long as the page.
  }
}

export function restore (stored) {
  marks.clear()
  seen.clear()
  for (const [id, good] of stored?.marks ?? []) marks.set(id, good)
  for (const id of stored?.seen ?? []) seen.add(id)
  slider.value = stored?.pull ?? 0
}

// -- marks

heed('mark', ({ items, good }) => {
  if (!isSearch()) return tell('toast', { text: 'Marks refine a search: search for something first.' })
  for (const { id } of items) {
    marks.delete(id)
    if (good !== null && marks.size < MOST) marks.set(id, good)
  }
  if (marks.size >= MOST) tell('toast', { text: `A round takes up to ${MOST} marks.` })
  changed()
})

function changed () {
  keep()
  tell('marked')
}

export function showMarks () {
  for (const owner of findAll('main .hit[data-item], #detail .item[data-item]')) {
    const good = marks.get(Number(owner.dataset.item))
    const word = good === undefined ? undefined : good ? 'good' : 'bad'
    if (owner.dataset.mark === word) continue
    if (word) owner.dataset.mark = word
    else delete owner.dataset.mark
  }
}

function thumbnail (id, good) {
  const shown = find('template.mark', bar).content.firstElementChild.cloneNode(true)
  const button = find('button', shown)
  button.dataset.id = id
  button.title = button.ariaLabel = `Unmark picture ${id}, marked ${good ? 'good' : 'bad'}`
  button.toggleAttribute('data-unsafe', isUnsafe(id))
  find('img', shown).src = `/t/${encodeURIComponent(dataset())}/${id}/160.webp`
  return shown
}

/** The newest first; those that stay are not loaded again. */
function list (good) {
  const list = find(good ? '.marks .good' : '.marks .bad', bar)
  const known = new Map(findAll('li', list).map((each) => [find('button', each).dataset.id, each]))
  list.replaceChildren(...ids(good).reverse().map((id) => known.get(String(id)) ?? thumbnail(id, good)))
}

find('.marks', bar).addEventListener('click', ({ target }) => {
  const button = target.closest('button')
  if (!button) return
  const others = findAll('.marks button', bar)
  const next = others[others.indexOf(button) + 1] ?? others.at(-2)
  marks.delete(Number(button.dataset.id))
  changed()
  if (next) find(`.marks button[data-id="${next.dataset.id}"]`, bar)?.focus()
  else find('a.picture', hits()[0] ?? document)?.focus({ preventScroll: true })
})

find('.clear', bar).addEventListener('click', () => {
  const before = state()
  const of = search.address
  marks.clear()
  changed()
  tell('toast', {
    text: 'The marks are gone.',
    undo () {
      keep(of, before)
      if (search.address !== of) return
      restore(before)
      tell('marked')
    }
  })
})

slider.addEventListener('input', () => {
  tellPull()
  keep()
})

function tellPull () {
  slider.ariaValueText = PULLS[slider.value]
}

/** In the bar, and how many of each kind there are. */
export function listMarks () {
  list(true)
  list(false)
  tellPull()
  const good = ids(true).length
  find('.tally [role=status]', bar).textContent = marks.size ? `${good} good, ${marks.size - good} bad` : 'No marks'
}

// -- what came into sight

const sight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && seen.size < MOST_SEEN) seen.add(Number(target.dataset.item))
  }
}, { threshold: 0.5 })

export function watch () {
  sight.disconnect()
  for (const hit of hits()) sight.observe(hit)
}
