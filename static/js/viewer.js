// The viewer: one item large over the page. The address of the item becomes that of the
// page, so that Back closes it, and a reload shows the item's own page.

import { emit, find, findAll } from './dom.js'
import { bind } from './keys.js'
import { bringIn } from './grid_window.js'
import { hits, itemOf, keyOf, mirrorMark, pictureOf } from './hits.js'
import { go, resultsAddress } from './navigation.js'
import { addVeils, copyVeil } from './results.js'
import { local } from './storage.js'
import { toast } from './toast.js'
import { zoomable } from './zoom.js'

const canCrop = Boolean(find('#crop'))
const MIN_SWIPE = 60 // pixels
const AHEAD = 3 // hits before the last one, at which further results are loaded
const STRIP_PAUSE_MS = 250 // for which an item is shown before similar ones are fetched
const FACTS_KEY = 'viewer:facts'
const dialog = find('#detail')
const frame = find('.viewer', dialog)
const content = find('.content', dialog)
const strips = new Map() // key of an item that is not in the grid → the strip it was in
let shown = null // the hit of the item
let title = ''
let requests = 0
let zoom = null

// -- what comes before and after an item: the hits of the grid, or those of a strip

const listOf = (hit) => hit && strips.has(keyOf(hit)) && !hits().includes(hit) ? strips.get(keyOf(hit)) : hits()
const placeOf = (hit, list) => list.findIndex((each) => keyOf(each) === keyOf(hit))
const moreLink = () => find('main .more > a')
const inGrid = (list) => !list[0] || hits().includes(list[0])

// -- open, go to the next, close

function parameters () {
  const list = new URLSearchParams(document.body.matches('.searching') ? resultsSearch() : '')
  list.delete('cursor')
  return list
}

const resultsSearch = () => new URL(resultsAddress(), location.href).search

function addressOf (hit) {
  const address = new URL(pictureOf(hit).href)
  address.search = parameters()
  return address
}

/** Show a hit; another one while the viewer is open, such as one of its strip. */
export function open (hit) {
  const isFirst = !dialog.open
  const state = isFirst ? { results: location.pathname + location.search, depth: 1 } : { ...history.state, depth: history.state.depth + 1 }
  if (isFirst) title = document.title
  history.pushState({ ...state, item: keyOf(hit) }, '', addressOf(hit))
  if (isFirst) showDialog()
  show(hit)
}

/** Show the hit that an entry of the history names. */
export function restore (key) {
  const hit = hits().find((each) => keyOf(each) === key) ?? strips.get(key)?.find((each) => keyOf(each) === key)
  if (!hit) return location.reload() // the page of an item that is not known here
  if (!dialog.open) {
    title = document.title
    showDialog()
  }
  show(hit)
}

/** Toasts move into the viewer: outside it they would lie below it, and inert. */
function showDialog () {
  frame.append(find('#toasts'))
  frame.classList.toggle('plain-view', local.get(FACTS_KEY) === 'hidden')
  showToggles()
  dialog.showModal()
}

function turn (step) {
  const list = listOf(shown)
  const next = list[placeOf(shown, list) + step]
  if (!next) return step > 0 && inGrid(list) ? turnAfterLoading() : false
  history.replaceState({ ...history.state, item: keyOf(next) }, '', addressOf(next))
  show(next)
}

function loadMore () {
  const link = moreLink()
  if (!link || !window.htmx) return false
  window.htmx.trigger(link, 'near')
}

/** Load the next page of hits, and go to the first of them. */
function turnAfterLoading () {
  const origin = shown
  document.addEventListener('laionweb:settled', () => {
    if (dialog.open && shown === origin) turn(1)
  }, { once: true })
  return loadMore()
}

function hide () {
  if (dialog.open) dialog.close()
}

dialog.addEventListener('close', () => {
  requests++
  if (document.fullscreenElement) document.exitFullscreen()
  document.body.append(find('#toasts'))
  document.title = title
  content.replaceChildren()
  if (history.state?.item) history.go(-(history.state.depth ?? 1))
  const hit = hits().find((each) => keyOf(each) === keyOf(shown)) ?? lastInGrid
  if (hit) bringIn(hit)
  if (!hit?.isConnected) return
  pictureOf(hit).focus({ preventScroll: true })
  hit.scrollIntoView({ block: 'nearest', behavior: 'instant' })
})

let lastInGrid = null

// Captured, because htmx would fetch the results again.
addEventListener('popstate', (event) => {
  const key = event.state?.item
  if (key) {
    event.stopImmediatePropagation()
    restore(key)
  } else if (dialog.open || leaving) {
    event.stopImmediatePropagation()
    hide()
    leaving?.()
    leaving = null
  }
}, true)

// -- the content

async function show (hit) {
  const number = ++requests
  shown = hit
  if (hit.closest('main')) lastInGrid = hit
  preview(hit)
  const list = listOf(hit)
  const place = placeOf(hit, list)
  const hasMore = inGrid(list) && moreLink()
  find('.turn.back', dialog).disabled = place === 0
  find('.turn.on', dialog).disabled = place === list.length - 1 && !hasMore
  if (hasMore && place >= list.length - AHEAD) loadMore()
  const address = addressOf(hit)
  address.searchParams.set('panel', '1')
  const html = await load(address)
  if (number !== requests || !dialog.open) return
  fill(html, hit)
  emit('opened', itemOf(hit))
  setTimeout(() => {
    if (number !== requests || !dialog.open) return
    showStrip(number)
    preload(list[place + 1])
  }, STRIP_PAUSE_MS)
}

async function load (address) {
  try {
    const answer = await fetch(address, {
      headers: { 'X-Requested-With': 'XMLHttpRequest' },
      signal: AbortSignal.timeout(20_000)
    })
    const text = await answer.text()
    return answer.headers.get('Content-Type')?.includes('html') ? text : ''
  } catch {
    return ''
  }
}

/** Have the browser fetch the large image of the next item. */
function preload (hit) {
  if (hit && find('img', pictureOf(hit))) new Image().src = `/t/${keyOf(hit)}/1280.webp`
}

/** Show what the grid knows of the item until the answer comes. */
function preview (hit) {
  const item = document.createElement('article')
  item.className = 'item arriving'
  const picture = pictureOf(hit).cloneNode(true)
  const large = document.createElement('div')
  large.className = 'picture large'
  large.classList.toggle('broken', picture.matches('.broken'))
  large.dataset.caption = picture.dataset.caption
  large.replaceChildren(...picture.childNodes)
  find('img', large)?.removeAttribute('loading')
  const about = document.createElement('div')
  about.className = 'about'
  const words = document.createElement('h2')
  words.className = 'words'
  words.dir = 'auto'
  words.textContent = picture.dataset.caption || 'Image without a caption'
  about.append(words)
  const stage = document.createElement('div')
  stage.className = 'stage'
  stage.append(large)
  item.append(stage, about)
  place(item)
  document.title = `${words.textContent.slice(0, 60)} – laionweb`
  copyVeil(hit, item)
}

function place (...nodes) {
  content.replaceChildren(...nodes)
  content.scrollTop = 0
  const stage = find('.stage', content)
  zoom = stage ? zoomable(stage, showScale) : null
  showScale(1)
}

function fill (html, hit) {
  if (!html) {
    const about = find('.about', content)
    const notice = document.createElement('p')
    notice.role = 'alert'
    notice.textContent = 'The details did not arrive. Close the viewer and open it again.'
    return about?.append(notice)
  }
  const small = find('.large img', content)?.currentSrc
  const { scale } = zoom ?? { scale: 1 }
  if (scale > 1) return fillFacts(html, hit)
  place(...new DOMParser().parseFromString(html, 'text/html').body.childNodes)
  const image = find('.large img', content)
  // The thumbnail stands in for the large image while that loads.
  if (image && small) image.style.backgroundImage = `url("${small}")`
  finish(hit)
}

/** Leave an image that is zoomed already where it is, and add the rest. */
function fillFacts (html, hit) {
  const item = find('.item', new DOMParser().parseFromString(html, 'text/html'))
  if (!item) return
  const image = find('.large img', content)
  const large = find('.large img', item)
  if (image && large) {
    image.removeAttribute('srcset')
    image.src = large.src
  }
  find('.stage', item).replaceWith(find('.stage', content))
  content.replaceChildren(item)
  finish(hit)
}

function finish (hit) {
  window.htmx?.process(content)
  const item = find('.item', content)
  if (!item) return
  copyVeil(hit, item)
  mirrorMark(hit)
}

async function showStrip (number) {
  const place = find('.neighbours[data-from]', content)
  if (!place) return
  const html = await load(place.dataset.from)
  if (number !== requests) return
  place.innerHTML = html
  const list = findAll('.hit', place)
  for (const hit of list) strips.set(keyOf(hit), list)
  addVeils()
}

// -- zoom, full screen, facts

function showScale (scale) {
  find('[data-view=out]', dialog).disabled = scale <= 1
}

function showToggles () {
  const isFull = Boolean(document.fullscreenElement)
  const isPlain = frame.matches('.plain-view')
  for (const [name, label, pressed] of [
    ['full', isFull ? 'Exit full screen' : 'Full screen', isFull],
    ['facts', isPlain ? 'Show details' : 'Hide details', isPlain]
  ]) {
    const button = find(`[data-view=${name}]`, dialog)
    button.ariaLabel = label
    button.ariaPressed = pressed
    button.title = `${label} (${name === 'full' ? 'F' : 'I'})`
  }
  find('[data-view=full]', dialog).hidden = !document.fullscreenEnabled
  find('[data-view=area]', dialog).hidden = !canCrop
}

function toggleFull () {
  if (document.fullscreenElement) document.exitFullscreen()
  else frame.requestFullscreen()
}

function toggleFacts () {
  const isPlain = frame.classList.toggle('plain-view')
  local.set(FACTS_KEY, isPlain ? 'hidden' : 'shown')
  showToggles()
}

document.addEventListener('fullscreenchange', showToggles)

/** Let the user draw frames on the image, and search by these areas. */
async function searchArea () {
  const image = find('.large img', content)
  if (!canCrop || !image) return false
  if (find('.large[data-unsafe]:not([data-revealed])', content)) return toast({ text: 'Show the image first.' })
  const { cropItem } = await import('./crop.js')
  cropItem(`/t/${keyOf(shown)}/1280.webp`, (search) => {
    leaving = search
    hide()
  })
}

const VIEWS = {
  area: searchArea,
  in: () => zoom?.zoomIn(),
  out: () => zoom?.zoomOut(),
  full: toggleFull,
  facts: toggleFacts
}

// -- links, buttons and keys

// A link in the viewer replaces the results: only after Back has restored their address.
let leaving = null
content.addEventListener('click', (event) => {
  const link = event.target.closest('a[href]')
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
  if (!link || !plain) return
  const hit = link.closest('.neighbours .hit')
  if (hit) {
    event.preventDefault()
    return open(hit)
  }
  if (link.target || !window.htmx || link.closest('[hx-boost=false]')) return
  event.preventDefault()
  event.stopImmediatePropagation()
  const { href } = link
  leaving = () => go(href)
  hide()
}, true)

dialog.addEventListener('click', ({ target }) => {
  if (target.closest('.ways .close')) hide()
  if (target.closest('.turn')) turn(target.closest('.on') ? 1 : -1)
  VIEWS[target.closest('[data-view]')?.dataset.view]?.()
})

/** Bind keys that act while the viewer is open. */
const bindHere = (keys, label, action) => bind(keys, label, () => dialog.open ? action() : false)

/** Move a zoomed image by steps, or else go to another one. */
const panOr = (across, down, otherwise) => zoom && zoom.pan(across, down) !== false ? undefined : otherwise()
const nothing = () => false

bindHere('ArrowLeft', '', () => panOr(-1, 0, () => turn(-1)))
bindHere('ArrowRight', '', () => panOr(1, 0, () => turn(1)))
bindHere('ArrowUp', '', () => panOr(0, -1, nothing))
bindHere('ArrowDown', '', () => panOr(0, 1, nothing))
bindHere(['+', '='], 'Zoom in', VIEWS.in)
bindHere('-', 'Zoom out', VIEWS.out)
bindHere('0', 'Fit the image', () => zoom?.reset())
bindHere('f', 'Full screen', toggleFull)
bindHere('i', 'Show or hide details', toggleFacts)
if (canCrop) bindHere('s', 'Search an area', searchArea)
bindHere('d', 'Download the image', () => find('a[download]', content)?.click())

// Where the item scrolls as a whole, the buttons beside its image leave with it.
content.addEventListener('scroll', () => frame.classList.toggle('scrolled', content.scrollTop > 60), { passive: true })

let touch = null
dialog.addEventListener('touchstart', ({ touches }) => {
  const single = touches.length === 1 && visualViewport.scale === 1 && !(zoom?.scale > 1)
  touch = single ? touches[0] : null
}, { passive: true })
dialog.addEventListener('touchend', ({ changedTouches: [end] }) => {
  if (!touch) return
  const [across, down] = [end.clientX - touch.clientX, end.clientY - touch.clientY]
  touch = null
  if (Math.abs(across) > MIN_SWIPE && Math.abs(across) > 2 * Math.abs(down)) turn(across < 0 ? 1 : -1)
}, { passive: true })
