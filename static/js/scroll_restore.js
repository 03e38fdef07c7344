// Whoever comes back to a page of results finds the place where they were, with all the
// pages that had been loaded.

import { find, heed } from './dom.js'
import { hits, keyOf } from './hits.js'

const MOST_PAGES = 50

/** The address of the results, also while a panel over them has put its own there. */
const address = () => history.state?.results ?? location.pathname + location.search

function write (key, place) {
  try {
    sessionStorage.setItem(key, JSON.stringify(place))
  } catch {
    // Storage is full or forbidden: then one starts at the top.
  }
}

function read (key) {
  try {
    return JSON.parse(sessionStorage.getItem(key))
  } catch {
    return null
  }
}

function remember (of = address()) {
  const all = hits()
  const top = all.find((hit) => hit.getBoundingClientRect().bottom > 0)
  if (!top) return
  write(`place:${of}`, scrollY < 50 ? null : { key: keyOf(top), offset: top.getBoundingClientRect().top })
}

let loaded = null
heed('settled', () => loaded?.())

/** Loads the next page; false when there is none or none comes. */
function more () {
  const link = find('main .more > a')
  if (!link || !window.htmx) return false
  return new Promise((resolve) => {
    const late = setTimeout(() => resolve(false), 8_000)
    loaded = () => {
      clearTimeout(late)
      loaded = null
      resolve(true)
    }
    window.htmx.trigger(link, 'near')
  })
}

async function restore () {
  const place = read(`place:${address()}`)
  if (!place) return
  const known = () => hits().find((hit) => keyOf(hit) === place.key)
  let turned = false
  addEventListener('wheel', () => { turned = true }, { once: true, passive: true })
  addEventListener('keydown', () => { turned = true }, { once: true })
  for (let page = 0; page < MOST_PAGES && !known() && !turned; page++) {
    if (!await more()) break
  }
  const hit = known()
  if (!hit || turned) return // whoever scrolls on meanwhile knows better
  scrollTo({ top: scrollY + hit.getBoundingClientRect().top - place.offset, behavior: 'instant' })
}

addEventListener('pagehide', () => remember())
document.addEventListener('htmx:beforeHistorySave', ({ detail }) => remember(detail.path))
document.addEventListener('htmx:historyCacheMissLoad', () => setTimeout(restore))
addEventListener('load', () => {
  const [visit] = performance.getEntriesByType('navigation')
  if (visit?.type === 'back_forward') setTimeout(restore)
})
