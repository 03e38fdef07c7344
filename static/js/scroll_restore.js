// Restores the scroll position of a page of results, and the further pages that had been
// loaded, when the user comes back to it.

import { find, listen } from './dom.js'
import { hits, keyOf } from './hits.js'
import { resultsAddress } from './navigation.js'
import { parse, session } from './storage.js'

const MAX_PAGES = 50
const MAX_WAIT_MS = 8_000 // for one page
const TOP = 50 // pixels; a page scrolled by less counts as unscrolled

const storageKey = (address) => `place:${address}`

function store (address = resultsAddress()) {
  const top = hits().find((hit) => hit.getBoundingClientRect().bottom > 0)
  if (!top) return
  const place = scrollY < TOP ? null : { key: keyOf(top), offset: top.getBoundingClientRect().top }
  session.set(storageKey(address), JSON.stringify(place))
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
  for (let page = 0; page < MAX_PAGES && !findHit() && !scrolled; page++) {
    if (!await loadMore()) break
  }
  const hit = findHit()
  if (!hit || scrolled) return
  scrollTo({ top: scrollY + hit.getBoundingClientRect().top - place.offset, behavior: 'instant' })
}

addEventListener('pagehide', () => store())
document.addEventListener('htmx:beforeHistorySave', ({ detail }) => store(detail.path))
document.addEventListener('htmx:historyCacheMissLoad', () => setTimeout(restore))
addEventListener('load', () => {
  const [visit] = performance.getEntriesByType('navigation')
  if (visit?.type === 'back_forward') setTimeout(restore)
})
