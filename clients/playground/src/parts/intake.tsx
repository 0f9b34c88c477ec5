import { useRef, useState } from 'preact/hooks'
import { accept, inWords, kindOf, useDropped, type Kind } from '../files'
import type { Sample } from '../samples'
import { Camera, hasCamera } from './camera'
import { Icon } from './icons'

interface Props {
  kinds: readonly Kind[]
  active: boolean
  file: File | undefined
  /** A file to work with, of one of `kinds`. */
  take: (file: File) => void
  samples: Sample[]
  pick: (sample: Sample) => void
}

/** Where a file comes in: dropped, pasted, chosen, photographed, or a sample. */
export function Intake({ kinds, active, file, take, samples, pick }: Props) {
  const [problem, setProblem] = useState('')
  const [photo, setPhoto] = useState(false)
  const input = useRef<HTMLInputElement>(null)

  function taken(files: File[]) {
    const first = files.find((each) => kindOf(each, kinds))
    setProblem(first || !files[0] ? '' : `${files[0].name} is not ${inWords(kinds)}.`)
    if (first) take(first)
  }
  const over = useDropped(active, taken)

  const choose = () => input.current?.click()
  const camera = kinds.includes('image') && hasCamera()
  return (
    <div class={file ? 'intake small' : 'intake'}>
      <input
        ref={input}
        class="sr-only"
        type="file"
        tabIndex={-1}
        accept={accept(kinds)}
        aria-label={`Choose ${inWords(kinds)}`}
        onChange={(event) => {
          taken([...(event.currentTarget.files ?? [])])
          event.currentTarget.value = ''
        }}
      />
      {!file && (
        <div class={over ? 'drop over' : 'drop'}>
          <span class="drop-icon">
            <Icon name="upload" size={28} />
          </span>
          <p class="drop-title">Drop {inWords(kinds)} here</p>
          <p class="muted">or paste one from the clipboard</p>
          <p class="row center">
            <button type="button" class="quiet" onClick={choose}>
              Choose a file
            </button>
            {camera && (
              <button type="button" class="quiet" onClick={() => setPhoto(true)}>
                <Icon name="camera" size={16} /> Camera
              </button>
            )}
          </p>
        </div>
      )}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <div class="samples row">
        {samples.length > 0 && <span class="muted">{file ? 'Samples' : 'Or try a sample'}</span>}
        {samples.map((sample) => (
          <button type="button" key={sample.id} class="sample" title={sample.title} onClick={() => pick(sample)}>
            <img src={sample.thumbnail} alt="" loading="lazy" />
            <span>{sample.title}</span>
          </button>
        ))}
        {file && (
          <span class="row end">
            <button type="button" class="quiet" onClick={choose}>
              <Icon name="upload" size={16} /> Another file
            </button>
            {camera && (
              <button type="button" class="quiet" aria-label="Take a photo" onClick={() => setPhoto(true)}>
                <Icon name="camera" size={16} />
              </button>
            )}
          </span>
        )}
      </div>
      {file && over && <div class="drop-veil">Drop to use it instead</div>}
      {photo && <Camera taken={take} close={() => setPhoto(false)} />}
    </div>
  )
}
