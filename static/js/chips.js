// The terms of a search: weights by a slider, and results dragged onto the box.

import { find, findAll } from './dom.js'
import { asked, go } from './navigation.js'
import { crop } from './crop.js'
import { bringMore, bringsFile, take } from './picture.js'
import { toast } from './toast.js'

const SETTLED_MS = 400 // arrow keys change a slider many times
const ITEM = 'application/x-laionweb-item'

// -- weights

const sliderOf = (target) => target.matches?.('.weight input[type=range]') ? target : null

document.addEventListener('input', ({ target }) => {
  const slider = sliderOf(target)
  if (slider) find('output', slider.form).value = Number(slider.value)
})

let waiting = null
document.addEventListener('change', ({ target }) => {
  const slider = sliderOf(target)
  if (!slider) return
  clearTimeout(waiting)
  waiting = setTimeout(() => slider.isConnected && slider.form.requestSubmit(), pressed ? SETTLED_MS : 0)
})

let pressed = false // whether a key moves the slider
document.addEventListener('keydown', () => { pressed = true }, true)
document.addEventListener('pointerdown', () => { pressed = false }, true)

// Results come with their chips: the one that was open stays so.
let open = null
document.addEventListener('htmx:beforeSwap', () => {
  open = find('.weight[open] input[type=range]')?.id ?? null
})
document.addEventListener('htmx:afterSwap', () => {
  const slider = open && document.getElementById(open)
  open = null
  if (!slider) return
  slider.closest('details').open = true
  slider.focus()
})

// -- pictures on chips

document.addEventListener('click', ({ target }) => {
  const button = target.closest?.('.chip .crop')
  if (button) crop(button.dataset.value)
  if (target.closest?.('.chips .add')) bringMore()
})

// -- what is dragged onto the box: a result (collect.js says what it is), or files

const box = find('#search .box')
const signs = find('.signs', box)
const everywhere = find('#drop')
const bringsItem = (event) => event.dataTransfer?.types.includes(ITEM)

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
  if (bringsFile(event) || bringsItem(event)) show(event)
})
document.addEventListener('dragover', (event) => {
  if (!bringsFile(event) && !(bringsItem(event) && signOf(event))) return
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
    take(event.dataTransfer.files, sign ? { beside: true, weight: sign } : {})
  } else if (bringsItem(event) && sign) {
    event.preventDefault()
    add([JSON.parse(event.dataTransfer.getData(ITEM))].flat(), sign)
  }
})

/** Items become terms of the search. */
function add (items, sign) {
  const shown = find('#results')?.dataset.dataset ?? find('#search [name=dataset]').value
  if (items.some(({ dataset }) => dataset !== shown)) return toast({ text: 'That is of another dataset.' })
  const wanted = asked()
  const words = find('#q').value.trim()
  if (words) wanted.set('q', words)
  const added = new Set(items.map(({ id }) => String(id)))
  const others = wanted.getAll('item').filter((value) => !added.has(value.split(':').pop()))
  wanted.delete('item')
  for (const value of others) wanted.append('item', value)
  for (const id of added) wanted.append('item', sign < 0 ? `-1:${id}` : id)
  wanted.set('dataset', shown)
  go(wanted)
}
