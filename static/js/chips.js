// The terms of a search: weights set by a slider, and results dragged onto the box.

import { find, findAll } from './dom.js'
import { bringsItems, droppedItems } from './hits.js'
import { currentParameters, go, search } from './navigation.js'
import { addImages, bringsFile, searchByFiles } from './query_images.js'
import { toast } from './toast.js'

const KEYS_PAUSE_MS = 400 // arrow keys change a slider many times

// -- weights

const sliderOf = (target) => target.matches?.('.weight input[type=range]') ? target : null

document.addEventListener('input', ({ target }) => {
  const slider = sliderOf(target)
  if (slider) find('output', slider.form).value = Number(slider.value)
})

let timer = null
document.addEventListener('change', ({ target }) => {
  const slider = sliderOf(target)
  if (!slider) return
  clearTimeout(timer)
  timer = setTimeout(weigh, byKey ? KEYS_PAUSE_MS : 0, slider.form)
})

/** Submit the form of a weight, also if new results have replaced it meanwhile. */
function weigh (form) {
  go(`${form.getAttribute('action')}?${new URLSearchParams(new FormData(form))}`)
}

let byKey = false // whether a key moves the slider
document.addEventListener('keydown', () => { byKey = true }, true)
document.addEventListener('pointerdown', () => { byKey = false }, true)

// New results replace the chips: the one that was open opens again.
let openSlider = null
document.addEventListener('htmx:beforeSwap', () => {
  openSlider = find('.weight[open] input[type=range]')?.id ?? null
})
document.addEventListener('htmx:afterSwap', () => {
  const slider = openSlider && document.getElementById(openSlider)
  openSlider = null
  if (!slider) return
  slider.closest('details').open = true
  slider.focus()
})

// -- images on chips

document.addEventListener('click', ({ target }) => {
  const button = target.closest?.('.chip .crop')
  if (button) import('./crop.js').then(({ crop }) => crop(button.dataset.value))
  if (target.closest?.('.chips .add')) addImages()
})

// -- results and files dragged onto the box

const box = find('#search .box')
const signs = find('.signs', box)
const everywhere = find('#drop')

/** 1 over the half for “more like it”, -1 over the other, 0 elsewhere. */
function signOf (event) {
  const half = event.target.closest?.('[data-sign]')
  if (!half) return 0
  return event.shiftKey ? -1 : Number(half.dataset.sign)
}

function show (event) {
  signs.hidden = false
  everywhere.hidden = !bringsFile(event)
  for (const half of findAll('[data-sign]', signs)) {
    half.classList.toggle('over', signOf(event) === Number(half.dataset.sign))
  }
}

function hide () {
  signs.hidden = everywhere.hidden = true
}

document.addEventListener('dragenter', (event) => {
  if (bringsFile(event) || bringsItems(event)) show(event)
})
document.addEventListener('dragover', (event) => {
  if (!bringsFile(event) && !(bringsItems(event) && signOf(event))) return
  event.preventDefault()
  event.dataTransfer.dropEffect = 'copy'
  show(event)
})
document.addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) hide()
})
document.addEventListener('dragend', hide)
document.addEventListener('drop', (event) => {
  const sign = signOf(event)
  hide()
  if (bringsFile(event)) {
    event.preventDefault()
    searchByFiles(event.dataTransfer.files, sign ? { addTerms: true, weight: sign } : {})
  } else if (bringsItems(event) && sign) {
    event.preventDefault()
    add(droppedItems(event), sign)
  }
})

/** Add items to the search as terms. */
function add (items, sign) {
  const shown = find('#results')?.dataset.dataset ?? find('#search [name=dataset]').value
  if (items.some(({ dataset }) => dataset !== shown)) return toast({ text: 'This item is from another dataset.' })
  const parameters = currentParameters()
  const words = find('#q').value.trim()
  if (words) parameters.set('q', words)
  const added = new Set(items.map(({ id }) => String(id)))
  const others = parameters.getAll('item').filter((value) => !added.has(value.split(':').pop()))
  parameters.delete('item')
  for (const value of others) parameters.append('item', value)
  for (const id of added) parameters.append('item', sign < 0 ? `-1:${id}` : id)
  parameters.set('dataset', shown)
  search(parameters)
}
