// A grid on any page: images that fail to load, veils over unsafe ones, further pages.

import { find, findAll, listen } from './dom.js'
import './grid_window.js'
import { hits } from './hits.js'
import './scroll_restore.js'

const AHEAD = '900px' // how far before its end the next page is fetched

// -- images that fail to load

function markBroken (image) {
  const picture = image.closest('.picture')
  if (!picture || picture.matches('.broken')) return
  picture.classList.add('broken')
  countBroken()
}

function countBroken () {
  const count = hits().filter((hit) => find('.broken', hit)).length
  const text = count === 1 ? '1 image couldn’t be loaded' : `${count} images couldn’t be loaded`
  for (const notice of findAll('.gone')) {
    notice.textContent = count ? text : ''
  }
}

// Errors of images do not bubble, but they can be captured. Those of thumbnails that
// may still come are stopped by thumbnail_retry.js.
document.addEventListener('error', ({ target }) => {
  if (target instanceof HTMLImageElement) markBroken(target)
}, true)
document.addEventListener('load', ({ target }) => {
  if (target instanceof HTMLImageElement) target.closest('.picture')?.classList.remove('broken')
}, true)

// -- veils, until the user lifts them

const VEILED = '.grid.veiled .hit .picture, .hit[data-unsafe] .picture, .picture.large[data-unsafe]'
const REVEALED = 'data-revealed'

export function addVeils () {
  for (const picture of findAll(VEILED)) {
    if (picture.matches('.broken') || find('.veil', picture.parentElement)) continue
    const veil = document.createElement('button')
    veil.type = 'button'
    veil.className = 'veil'
    picture.after(veil)
    showVeil(veil)
  }
}

function showVeil (veil) {
  const revealed = veil.previousElementSibling.hasAttribute(REVEALED)
  veil.textContent = revealed ? 'Hide' : 'Show'
  veil.setAttribute('aria-label', `${veil.textContent} this image`)
}

/** Lift the veil of an image; return whether there was one. */
function reveal (picture) {
  if (!picture.matches(VEILED) || picture.matches('.broken') || picture.hasAttribute(REVEALED)) return false
  toggleVeil(picture)
  return true
}

function toggleVeil (picture) {
  picture.toggleAttribute(REVEALED)
  const veil = picture.nextElementSibling
  if (veil?.matches('.veil')) showVeil(veil)
}

// Captured: the first click on a veiled image only shows it.
document.addEventListener('click', (event) => {
  if (event.target.matches?.('.veil')) toggleVeil(event.target.previousElementSibling)
  const picture = event.target.closest?.('a.picture')
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey
  if (picture && plain && reveal(picture)) {
    event.preventDefault()
    event.stopImmediatePropagation()
  }
}, true)

/** Veil the image of an item in the panel as its hit is veiled. */
export function copyVeil (hit, item) {
  const picture = find('.picture.large', item)
  const source = hit && find('.picture', hit)
  if (!picture || !source) return
  picture.toggleAttribute('data-unsafe', source.matches(VEILED))
  picture.toggleAttribute(REVEALED, source.hasAttribute(REVEALED))
  addVeils()
}

// -- further pages

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting) window.htmx?.trigger(target, 'near')
  }
}, { rootMargin: AHEAD })

function arrange () {
  countBroken()
  addVeils()
  near.disconnect()
  for (const link of findAll('.more > a')) near.observe(link)
}

listen('settled', arrange)
listen('attached', addVeils)
arrange()
