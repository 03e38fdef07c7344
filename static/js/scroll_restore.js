// Restores the scroll position of a page of results, and the further pages that had been
// loaded, when the user comes back to it or loads it again. Far down a long list, only the
// page with that position is loaded, and a link leads to the beginning.

import { emit, find, listen } from './dom.js'
import { bringIn } from './grid_window.js'
import { hits, keyOf } from './hits.js'
import { resultsAddress } from './navigation.js'
import { parse, session } from './storage.js'

const MAX_PAGES = 50
const FAR = 200 // hits
const MAX_WAIT_MS = 8_000 // for one page
const TOP = 50 // pixels; a page scrolled by less counts as unscrolled

const storageKey = (address) => `place:${address}`

function store (address = resultsAddress()) {
  const top = hits().find((hit) => hit.isConnected && hit.getBoundingClientRect().bottom > 0)
  if (!top) return
  const all = hits()
  const start = all.slice(0, all.indexOf(top) + 1).findLast(({ dataset }) => dataset.page)
  const before = start && all.indexOf(start) + Number(find('main .grid').dataset.before ?? 0)
  const place = scrollY < TOP
    ? null
    : { key: keyOf(top), offset: top.getBoundingClientRect().top, page: start?.dataset.page, before }
  session.set(storageKey(address), JSON.stringify(place))
}

// The first hit of each further page knows its address.
let count = 0
document.addEventListener('htmx:beforeSwap', () => { count = hits().length })
document.addEventListener('htmx:afterSwap', ({ detail }) => {
  const address = detail.requestConfig?.path
  const first = hits()[count]
  if (first && address?.includes('cursor=')) first.dataset.page = address
})

/** Replace the hits by those of one page, in the middle of the results. */
async function jumpTo ({ page, before }) {
  const answer = await fetch(page, { headers: { 'HX-Request': 'true' }, signal: AbortSignal.timeout(MAX_WAIT_MS) })
  if (!answer.ok) return
  const old = find('main .grid')
  const grid = old.cloneNode(false)
  const template = document.createElement('template')
  template.innerHTML = await answer.text()
  const earlier = document.createElement('li')
  const link = document.createElement('a')
  earlier.className = 'earlier'
  link.href = resultsAddress()
  link.textContent = `${before.toLocaleString('en')} earlier results`
  link.addEventListener('click', () => session.remove(storageKey(resultsAddress())))
  earlier.append(link)
  grid.append(earlier, template.content)
  grid.dataset.before = before
  find('.hit', grid).dataset.page = page
  old.replaceWith(grid)
  window.htmx?.process(grid)
  emit('settled')
}

let loaded = null // called when the page under way has arrived
listen('settled', () => loaded?.())

/** Load the next page; return false when there is none or it takes too long. */
function loadMore () {
  const link = find('main .more > a')
  if (!link || !window.htmx) return false
  return new Promise((resolve) => {
    const timeout = setTimeout(() => resolve(false), MAX_WAIT_MS)
    loaded = () => {
      clearTimeout(timeout)
      loaded = null
      resolve(true)
    }
    window.htmx.trigger(link, 'near')
  })
}

async function restore () {
  const place = parse(session.get(storageKey(resultsAddress())))
  if (!place) return
  const findHit = () => hits().find((hit) => keyOf(hit) === place.key)
  let scrolled = false // the user scrolls: then that wins
  addEventListener('wheel', () => { scrolled = true }, { once: true, passive: true })
  addEventListener('keydown', () => { scrolled = true }, { once: true })
  try {
    if (place.before > FAR && !findHit()) await jumpTo(place)
  } catch {
    // The server did not answer in time: the pages are loaded one by one.
  }
  for (let page = 0; page < MAX_PAGES && !findHit() && !scrolled; page++) {
    if (!await loadMore()) break
  }
  const hit = findHit()
  if (!hit || scrolled) return
  bringIn(hit)
  scrollTo({ top: scrollY + hit.getBoundingClientRect().top - place.offset, behavior: 'instant' })
}

addEventListener('pagehide', () => store())
document.addEventListener('htmx:beforeHistorySave', ({ detail }) => store(detail.path))
document.addEventListener('htmx:historyCacheMissLoad', () => setTimeout(restore))
addEventListener('load', () => {
  const [visit] = performance.getEntriesByType('navigation')
  if (['back_forward', 'reload'].includes(visit?.type)) setTimeout(restore)
})
