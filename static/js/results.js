// Pictures in a grid, on whatever page: those that are gone, those that are veiled, and
// more of them.

import { find, findAll, heed } from './dom.js'
import './scroll_restore.js'

const AHEAD = '900px' // how far before its end the next page is fetched

// -- pictures that are gone

function markBroken (image) {
  const picture = image.closest('.picture')
  if (!picture || picture.matches('.broken')) return
  picture.classList.add('broken')
  countGone()
}

function countGone () {
  for (const place of findAll('.grid-tools .gone')) {
    const gone = findAll('main .hit .broken').length
    const told = gone === 1 ? '1 picture on this page is gone' : `${gone} pictures on this page are gone`
    place.textContent = gone ? told : ''
  }
}

// Errors of images do not bubble, but they can be caught on their way down. Those that
// may still come, late.js keeps to itself.
document.addEventListener('error', ({ target }) => {
  if (target instanceof HTMLImageElement) markBroken(target)
}, true)
document.addEventListener('load', ({ target }) => {
  if (target instanceof HTMLImageElement) target.closest('.picture')?.classList.remove('broken')
}, true)

// -- pictures that are veiled until somebody wants to see them

const VEILED = '.grid.veiled .hit .picture, .hit[data-unsafe] .picture, .picture.large[data-unsafe]'
const REVEALED = 'data-revealed'

function addVeils () {
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
  veil.setAttribute('aria-label', `${veil.textContent} this picture`)
}

/** Whether the picture was veiled, and is not any more. */
function reveal (picture) {
  if (!picture.matches(VEILED) || picture.matches('.broken') || picture.hasAttribute(REVEALED)) return false
  turnVeil(picture)
  return true
}

function turnVeil (picture) {
  picture.toggleAttribute(REVEALED)
  const veil = picture.nextElementSibling
  if (veil?.matches('.veil')) showVeil(veil)
}

// Before anybody else: the first click on a veiled picture does nothing but show it.
document.addEventListener('click', (event) => {
  if (event.target.matches?.('.veil')) turnVeil(event.target.previousElementSibling)
  const picture = event.target.closest?.('a.picture')
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey
  if (picture && plain && reveal(picture)) {
    event.preventDefault()
    event.stopImmediatePropagation()
  }
}, true)

/** The item that a panel shows is as open to the eye as its hit. */
export function veilLike (hit, item) {
  const picture = find('.picture.large', item)
  const source = hit && find('.picture', hit)
  if (!picture || !source) return
  picture.toggleAttribute('data-unsafe', source.matches(VEILED))
  picture.toggleAttribute(REVEALED, source.hasAttribute(REVEALED))
  addVeils()
}

// -- more of them

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting) window.htmx?.trigger(target, 'near')
  }
}, { rootMargin: AHEAD })

function arrange () {
  countGone()
  addVeils()
  near.disconnect()
  for (const link of findAll('.more > a')) near.observe(link)
}

heed('settled', arrange)
arrange()
