// The panel that shows one item over the page. The address of the item becomes that of
// the page, so that Back closes the panel, and a reload shows the item's own page.

import { emit, find } from './dom.js'
import { bind } from './keys.js'
import './copy_buttons.js'
import { hits, itemOf, keyOf, mirrorMark, pictureOf } from './hits.js'
import { go, resultsAddress } from './navigation.js'
import { copyVeil } from './results.js'

const MIN_SWIPE = 60 // pixels
const dialog = find('#detail')
const content = dialog && find('.content', dialog)
let shown = null // the hit of the item in the panel
let title = ''
let requests = 0

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

function open (hit) {
  const results = location.pathname + location.search
  const address = addressOf(hit)
  title = document.title
  history.pushState({ item: keyOf(hit), results }, '', address)
  showPanel()
  show(hit)
}

/** Toasts move into the panel: outside it they would lie below it, and inert. */
function showPanel () {
  dialog.append(find('#toasts'))
  dialog.showModal()
}

function turn (step) {
  const all = hits()
  const next = all[all.indexOf(shown) + step]
  if (!next) return step > 0 ? turnAfterLoading() : false
  history.replaceState({ ...history.state, item: keyOf(next) }, '', addressOf(next))
  show(next)
}

/** Load the next page of hits, and go to the first of them. */
function turnAfterLoading () {
  const link = find('main .more > a')
  if (!link || !window.htmx) return false
  const origin = shown
  document.addEventListener('laionweb:settled', () => {
    if (dialog.open && shown === origin) turn(1)
  }, { once: true })
  window.htmx.trigger(link, 'near')
}

function hide () {
  if (dialog.open) dialog.close()
}

dialog?.addEventListener('close', () => {
  requests++
  document.body.append(find('#toasts'))
  document.title = title
  content.replaceChildren()
  if (history.state?.item) history.back()
  if (!shown?.isConnected) return
  pictureOf(shown).focus({ preventScroll: true })
  shown.scrollIntoView({ block: 'nearest', behavior: 'instant' })
})

// Captured, because htmx would fetch the results again.
addEventListener('popstate', (event) => {
  const key = event.state?.item
  const hit = key && hits().find((each) => keyOf(each) === key)
  if (hit) {
    event.stopImmediatePropagation()
    if (!dialog.open) showPanel()
    show(hit)
  } else if (key) location.reload() // the page of an item that is not in the grid
  else if (dialog?.open) {
    event.stopImmediatePropagation()
    hide()
    leaving?.()
    leaving = null
  } else if (leaving) {
    event.stopImmediatePropagation()
    leaving()
    leaving = null
  }
}, true)

// -- the content

async function show (hit) {
  const number = ++requests
  shown = hit
  preview(hit)
  const all = hits()
  find('.turn.back', dialog).disabled = all[0] === hit
  find('.turn.on', dialog).disabled = all.at(-1) === hit && !find('main .more > a')
  const address = addressOf(hit)
  address.searchParams.set('panel', '1')
  const html = await load(address)
  if (number !== requests || !dialog.open) return
  fill(html, hit)
  emit('opened', itemOf(hit))
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
  content.replaceChildren(item)
  content.scrollTop = 0
  document.title = `${words.textContent.slice(0, 60)} – laionweb`
  copyVeil(hit, item)
}

function fill (html, hit) {
  const arrived = new DOMParser().parseFromString(html, 'text/html').body
  const small = find('img', content)?.currentSrc
  if (!arrived.childElementCount) {
    find('.about', content).append('The server did not answer. Please try again.')
    find('.arriving', content)?.classList.remove('arriving')
    return
  }
  content.replaceChildren(...arrived.childNodes)
  const image = find('.large img', content)
  // The thumbnail stands in for the large image while that loads.
  if (image && small) image.style.backgroundImage = `url("${small}")`
  window.htmx?.process(content)
  const item = find('.item', content)
  if (!item) return
  copyVeil(hit, item)
  mirrorMark(hit)
}

// -- links and turning

// A link in the panel replaces the results: only after Back has restored their address.
let leaving = null
content?.addEventListener('click', (event) => {
  const link = event.target.closest('a[href]')
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
  if (!link || link.target || !plain || !window.htmx || link.closest('[hx-boost=false]')) return
  event.preventDefault()
  event.stopImmediatePropagation()
  const { href } = link
  leaving = () => go(href)
  hide()
}, true)

document.addEventListener('click', (event) => {
  const picture = event.target.closest?.('main .hit[data-item] a.picture')
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
  if (!picture || !plain || !dialog?.showModal) return
  event.preventDefault()
  open(picture.closest('.hit'))
})

dialog?.addEventListener('click', ({ target }) => {
  if (target.closest('.close')) hide()
  if (target.closest('.turn')) turn(target.closest('.on') ? 1 : -1)
})

bind('ArrowLeft', '', () => dialog?.open ? turn(-1) : false)
bind('ArrowRight', '', () => dialog?.open ? turn(1) : false)

let touch = null
dialog?.addEventListener('touchstart', ({ touches }) => {
  touch = touches.length === 1 && visualViewport.scale === 1 ? touches[0] : null
}, { passive: true })
dialog?.addEventListener('touchend', ({ changedTouches: [end] }) => {
  if (!touch) return
  const [across, down] = [end.clientX - touch.clientX, end.clientY - touch.clientY]
  touch = null
  if (Math.abs(across) > MIN_SWIPE && Math.abs(across) > 2 * Math.abs(down)) turn(across < 0 ? 1 : -1)
}, { passive: true })

// Once all modules listen.
document.addEventListener('DOMContentLoaded', () => {
  const item = find('main > .item')
  if (item) emit('opened', itemOf(item))
})
